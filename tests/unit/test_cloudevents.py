import base64
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from consumer.ingest.authenticate import NotAuthentic
from consumer.ingest.cloudevents import BATCH, JSON, MAX_EVENTS, STRUCTURED, CloudEventsIntake
from consumer.ingest.intake import NOT_JSON, Intake, Taken
from consumer.kafka.topics import Topics
from consumer.model.codec import decode_event
from consumer.model.events import CallEvent, Position
from consumer.model.identity import digest
from consumer.simulate.signing import Hmac, StandardWebhooks, WebhookAuth, proof
from handlers.providers.ringg import Ringg
from tests.unit.values import ACCOUNT, SECRET, account

TOPICS = Topics.named()
AUTH = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
ATTRIBUTES = {"specversion": "1.0", "id": "A234-1234", "source": "/dialler/7", "type": "ai.ringg.call"}
EVENT_ID = f"ce-{digest(('/dialler/7', 'A234-1234'))}"
STARTED = {"event_type": "call_started", "call_id": "call-1", "to_number": "+918882876897"}
NOW = 1_614_265_330.0


def intake(auth: dict[str, Any] | None = None) -> CloudEventsIntake:
    return CloudEventsIntake(account(webhook={"auth": auth or AUTH, "format": "cloudevents"}), Ringg(), TOPICS)


def take(content_type: str, body: object, **headers: str) -> Taken:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {"X-Webhook-Secret": SECRET, "Content-Type": content_type} | headers
    return intake().take(CIMultiDict(given), raw, NOW)


def binary(body: object = STARTED, content_type: str = JSON, **attributes: Any) -> Taken:
    given = {f"ce-{name}": value for name, value in (ATTRIBUTES | attributes).items() if value is not None}
    return take(content_type, body, **given)


def structured(**members: object) -> Taken:
    return take(STRUCTURED, ATTRIBUTES | members)


def events(taken: Taken) -> list[CallEvent]:
    records = [record for record in taken.records if record.topic == TOPICS.call_events.name]
    return [decode_event(record.value, Position(record.topic, record.partition, 0), 0.0) for record in records]


def rejected(taken: Taken) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in taken.records if record.topic == TOPICS.rejected.name]


def status(taken: Taken) -> int:
    return taken.refused.status if taken.refused else CloudEventsIntake.taken_status


def test_the_same_event_is_the_same_in_every_mode() -> None:
    encoded = base64.b64encode(orjson.dumps(STARTED)).decode()
    every = [
        binary(),
        structured(data=STARTED),
        structured(data_base64=encoded, datacontenttype="application/octet-stream"),
        structured(data=orjson.dumps(STARTED).decode(), datacontenttype="text/plain"),
        take(BATCH, [ATTRIBUTES | {"data": STARTED}]),
        take(f" {STRUCTURED.upper()} ; charset=utf-8", ATTRIBUTES | {"data": STARTED}),
        take(f"{BATCH};charset=UTF-8", [ATTRIBUTES | {"data": STARTED, "data_base64": None}]),
    ]
    for taken in every:
        assert (taken.reason, status(taken)) == (None, 202)
        (event,) = events(taken)
        assert (event.event_id, event.call_id, event.raw) == (EVENT_ID, "call-1", STARTED)


def test_source_and_id_together_are_the_identity() -> None:
    names = [
        binary(**attributes).event_id
        for attributes in ({}, {"type": "other"}, {"id": "B"}, {"source": "/dialler/8"}, {"source": "A", "id": "B"})
    ]
    assert names[0] == names[1] == EVENT_ID
    assert len(set(names)) == 4
    assert binary(source="ab", id="c").event_id != binary(source="a", id="bc").event_id


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),  # the specification's own example
        ("Euro%20%e2%82%ac%20%f0%9f%98%80", "Euro € 😀"),
        ('"Euro € 😀"', "Euro € 😀"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ("%41%2541", "A%41"),
        ("100%", "100%"),
        ('"', '"'),
    ],
)
def test_a_header_is_unquoted_and_percent_decoded_once(header: str, meant: str) -> None:
    assert binary(id=header).event_id == structured(id=meant, data=STARTED).event_id


@pytest.mark.parametrize("header", ["%C0%A0", "%ff", "\udcff", "%ED%A0%80"])
def test_a_header_that_is_not_utf_8_is_refused(header: str) -> None:
    taken = binary(source=header)
    assert status(taken) == 400
    assert "not UTF-8" in rejected(taken)[0]["reason"]


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_each_required_attribute_is_needed_and_what_came_without_is_kept(name: str) -> None:
    whole: dict[str, Any] = {"data": STARTED}
    unset: dict[str, Any] = {name: None}
    empty: dict[str, Any] = {name: ""}
    for taken in (
        binary(**unset),
        binary(**empty),
        structured(**whole, **unset),
        structured(**whole, **empty),
        take(BATCH, [ATTRIBUTES | whole | unset]),
    ):
        assert status(taken) == 400
        assert not events(taken)
        (kept,) = rejected(taken)
        assert f"the attribute {name} is missing" in kept["reason"]
        assert "call-1" in kept["body"]
    assert "is not a text" in str(structured(**whole, **{name: 7}).reason)


@pytest.mark.parametrize("version", ["0.3", "1", "1.1", "2.0"])
def test_another_version_is_refused(version: str) -> None:
    assert status(binary(specversion=version)) == status(structured(specversion=version, data=STARTED)) == 400


@pytest.mark.parametrize(
    "document",
    [
        [],
        None,
        "text",
        ATTRIBUTES | {"data": STARTED, "data_base64": "e30="},
        ATTRIBUTES | {"data_base64": "e30"},
        ATTRIBUTES | {"data_base64": "é"},
        ATTRIBUTES | {"data_base64": {}},
        ATTRIBUTES | {"data": "text", "datacontenttype": 7},
    ],
)
def test_a_document_that_is_no_event_is_refused_and_kept(document: object) -> None:
    for taken in (take(STRUCTURED, document), take(BATCH, [document])):
        assert (status(taken), len(rejected(taken)), events(taken)) == (400, 1, [])
        assert "ot a CloudEvent" in str(taken.reason) or "are not CloudEvents" in str(taken.reason)


@pytest.mark.parametrize("data", [{}, {"hello": "world"}, [1], "text", 7, None, {"call_id": "x", "event_type": "y"}])
def test_data_that_no_adapter_understands_is_kept_as_it_would_be_read_again(data: object) -> None:
    for taken in (binary(data), structured(data=data), take(BATCH, [ATTRIBUTES | {"data": data}])):
        assert (status(taken), events(taken)) == (202, [])
        (kept,) = rejected(taken)
        assert kept["event_id"] == EVENT_ID
        assert orjson.loads(kept["body"]) == data


def test_what_was_kept_becomes_the_event_it_was_once_it_is_understood() -> None:
    (kept,) = rejected(structured(data={"event_type": "call_paused", "call_id": "call-1"}))
    understood = kept["body"].replace("call_paused", "call_started").encode()
    again = Intake(intake().account, Ringg(), TOPICS).read(understood, kept["event_id"])
    assert [event.event_id for event in events(again)] == [EVENT_ID]


@pytest.mark.parametrize("content_type", [JSON, STRUCTURED, BATCH])
@pytest.mark.parametrize("raw", [b"", b"{", b"\xff"])
def test_what_is_not_json_is_refused_and_kept(content_type: str, raw: bytes) -> None:
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items()}
    taken = take(content_type, raw, **headers)
    assert taken.refused is NOT_JSON
    assert len(rejected(taken)) == 1


def test_an_event_without_data_is_refused_as_an_empty_body_is() -> None:
    assert structured().refused is NOT_JSON
    assert binary(b"").refused is NOT_JSON


@pytest.mark.parametrize(
    "content_type",
    ["application/cloudevents+avro", "application/cloudevents", "application/cloudevents-other+json", "text/xml", "a"],
)
def test_another_format_is_415_and_kept(content_type: str) -> None:
    taken = binary(content_type=content_type)
    assert (status(taken), events(taken), len(rejected(taken))) == (415, [], 1)


@pytest.mark.parametrize(
    "content_type", ["", "application/json; charset=utf-8", "application/vnd.ringg+json", "text/json"]
)
def test_every_kind_of_json_is_a_binary_event(content_type: str) -> None:
    assert status(binary(content_type=content_type)) == 202


def test_data_too_deep_to_be_written_again_is_refused() -> None:
    nested = b"[" * 300 + b"]" * 300
    raw = orjson.dumps(ATTRIBUTES)[:-1] + b',"data":' + nested + b"}"
    assert status(take(STRUCTURED, raw)) == 400
    assert "too deep" in str(take(STRUCTURED, raw).reason)
    shallower = raw.replace(nested, b'{"a":' * 150 + b"1" + b"}" * 150)
    assert "nested deeper" in str(take(STRUCTURED, shallower).reason)


def test_of_a_batch_what_is_right_is_taken_whatever_stands_beside_it() -> None:
    right = [ATTRIBUTES | {"id": f"e{n}", "data": STARTED | {"call_id": f"call-{n}"}} for n in range(3)]
    unknown = ATTRIBUTES | {"id": "unknown", "data": {"event_type": "call_paused"}}
    taken = take(BATCH, [right[0], unknown, right[1], right[2]])
    assert (status(taken), [event.call_id for event in events(taken)]) == (202, ["call-0", "call-1", "call-2"])
    assert ["call_paused" in kept["body"] for kept in rejected(taken)] == [True]
    taken = take(BATCH, [right[0], {"id": "broken"}, right[1], 7, unknown])
    assert (status(taken), [event.call_id for event in events(taken)]) == (400, ["call-0", "call-1"])
    assert ["2 of 5 events are not CloudEvents: at index 1," in kept["reason"] for kept in rejected(taken)] == [
        False,
        True,
    ]
    assert [event.event_id for event in events(taken)] == [event.event_id for event in events(take(BATCH, right[:2]))]


def test_an_empty_batch_is_taken_and_one_that_is_no_list_or_too_long_is_not() -> None:
    assert (status(take(BATCH, [])), take(BATCH, []).records) == (202, ())
    assert status(take(BATCH, ATTRIBUTES | {"data": STARTED})) == 400
    assert status(take(BATCH, [ATTRIBUTES | {"data": STARTED}] * MAX_EVENTS)) == 202
    too_long = take(BATCH, [{}] * (MAX_EVENTS + 1))
    assert (status(too_long), len(too_long.records)) == (413, 1)


def test_who_does_not_prove_who_it_is_leaves_nothing_behind() -> None:
    for content_type in (JSON, STRUCTURED, BATCH, "text/xml"):
        with pytest.raises(NotAuthentic):
            intake().take(CIMultiDict({"Content-Type": content_type, "X-Webhook-Secret": "wrong"}), b"{}")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_signed_body_sent_again_under_another_unsigned_name_is_the_same_event(wrapped: bool) -> None:
    key = f"whsec_{base64.b64encode(SECRET.encode()).decode()}"
    senders: list[tuple[dict[str, Any], WebhookAuth]] = [
        ({"type": "hmac-sha256", "header": "X-Webhook-Signature", "secret": SECRET}, Hmac(SECRET)),
        ({"type": "standard-webhooks", "secret": key}, StandardWebhooks(key)),
    ]
    raw = orjson.dumps(ATTRIBUTES | {"data": STARTED} if wrapped else STARTED)
    for auth, sender in senders:
        names = set()
        for n in range(2):
            headers = {f"ce-{name}": value for name, value in (ATTRIBUTES | {"id": str(n)}).items()}
            headers["Content-Type"] = STRUCTURED if wrapped else JSON
            if auth["type"] == "hmac-sha256":
                headers["webhook-id"] = f"msg-{n}"
            signed = CIMultiDict(headers | proof(sender, raw, "msg-1", NOW))
            names.add(intake(auth).take(signed, raw, NOW).event_id)
            if not wrapped:
                provider = Intake(account(webhook={"auth": auth}), Ringg(), TOPICS).take(signed, raw, NOW)
                names.add(provider.event_id)
        assert len(names) == 1


def test_consent_names_the_sender_that_asked_and_nobody_else() -> None:
    asked = CIMultiDict({"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"})
    granted = {"WebHook-Allowed-Origin": "eventemitter.example.com", "WebHook-Allowed-Rate": "30000"}
    assert intake().consent(asked, 30_000) == granted
    for origin in ("", "a b", "a\u00e9", "x" * 254, "<script>", "a\r\nSet-Cookie: b"):
        assert intake().consent(CIMultiDict({"WebHook-Request-Origin": origin}), 30_000) == {}


def test_records_carry_the_account_and_the_senders_trace() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    batch = [ATTRIBUTES | {"id": str(n), "data": STARTED} for n in range(2)]
    taken = take(BATCH, [*batch, {}], traceparent=trace)
    assert [dict(record.headers)["traceparent"] for record in taken.records] == [trace.encode()] * 3
    assert [event.account for event in events(taken)] == [ACCOUNT] * 2
