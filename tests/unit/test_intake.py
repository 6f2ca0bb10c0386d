import base64
import time
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from consumer.ingest.authenticate import NotAuthentic
from consumer.ingest.intake import MAX_NESTING, NOT_JSON, Intake, Taken
from consumer.kafka.topics import Topics
from consumer.model.codec import decode_event
from consumer.model.events import CallEvent, Position
from consumer.model.identity import partition_of
from consumer.simulate.signing import StandardWebhooks, proof
from handlers.providers.ringg import Ringg
from tests.unit.values import ACCOUNT, SECRET, account

TOPICS = Topics.named()
INTAKE = Intake(account(), Ringg(), TOPICS)
COMPLETED: dict[str, Any] = {
    "event_type": "call_completed",
    "call_id": "call-1",
    "status": "completed",
    "retry_count": 0,
    "to_number": "+918882876897",
}


def take(raw: bytes, **headers: str) -> Taken:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return INTAKE.take(CIMultiDict({"X-Webhook-Secret": SECRET} | named), raw)


def taken_event(taken: Taken) -> CallEvent:
    assert taken.reason is None
    (record,) = taken.records
    assert record.topic == TOPICS.call_events.name
    return decode_event(record.value, Position(record.topic, record.partition, 0), 0.0)


def rejected(taken: Taken) -> dict[str, Any]:
    assert taken.reason is not None
    (record,) = taken.records
    assert record.topic == TOPICS.rejected.name
    assert record.key == ACCOUNT.encode()
    found: dict[str, Any] = orjson.loads(record.value or b"")
    assert (found["account"], found["event_id"], found["source"]) == (ACCOUNT, taken.event_id, "webhook")
    return found


def test_an_event_goes_to_the_partition_of_its_call_with_its_body_as_it_came() -> None:
    raw = orjson.dumps(COMPLETED, option=orjson.OPT_INDENT_2)
    taken = take(raw)
    record = taken.records[0]
    assert record.key == b"acme-ringg/call-1"
    assert record.partition == partition_of(record.key, 64)
    assert raw in (record.value or b"")
    assert taken_event(taken).raw == COMPLETED


def test_the_same_bytes_are_one_event_and_other_bytes_another() -> None:
    raw = orjson.dumps(COMPLETED)
    assert take(raw).event_id == take(raw).event_id == taken_event(take(raw)).event_id
    assert take(raw).event_id != take(raw + b" ").event_id


def test_the_senders_own_id_names_the_event() -> None:
    assert take(orjson.dumps(COMPLETED), webhook_id="msg_1").event_id == "msg_1"


@pytest.mark.parametrize("given", ["", "x" * 201, "\udcff", "ключ", "a\x00b"])
def test_an_id_that_cannot_be_kept_whole_is_replaced_by_the_bodys_own(given: str) -> None:
    raw = orjson.dumps(COMPLETED)
    assert take(raw, webhook_id=given).event_id == take(raw).event_id
    assert take(b"{", webhook_id=given).refused == NOT_JSON


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": "\\ud800"}',
        b"[" * 2_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_said_to_the_sender_and_kept(raw: bytes) -> None:
    taken = take(raw)
    assert taken.refused == NOT_JSON
    kept = rejected(taken)
    assert (kept["body"].encode() if "body" in kept else base64.b64decode(kept["body_base64"])) == raw


@pytest.mark.parametrize("raw", [b"[]", b"7", b'"text"', b"null", b"{}"])
def test_json_that_is_no_event_is_kept_and_the_sender_is_content(raw: bytes) -> None:
    taken = take(raw)
    assert taken.refused is None
    assert rejected(taken)["body"].encode() == raw


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_type": "call_dialled"}, "event_type"),
        ({"event_type": {"a": 1}}, "event_type"),
        ({"status": "forwarded"}, "status"),
        ({"status": None}, "status"),
        ({"call_id": "x" * 10_000}, "call_id"),
        ({"call_id": ""}, "call_id"),
        ({"call_id": None}, "call_id"),
        ({"call_id": 7}, "call_id"),
        ({"retry_count": -1}, "retry_count"),
        ({"retry_count": 1.5}, "retry_count"),
        ({"retry_count": "many"}, "retry_count"),
        ({"retry_count": True}, "retry_count"),
        ({"retry_count": 1e30}, "retry_count"),
        ({"call_duration": "1e999"}, "call_duration"),
        ({"call_cost": 1e300}, "call_cost"),
        ({"call_cost": [1]}, "call_cost"),
        ({"called_on": "yesterday"}, "called_on"),
        ({"called_on": -5}, "called_on"),
        ({"called_on": 1e300}, "called_on"),
        ({"called_on": "0001-01-01T00:00:00Z"}, "called_on"),
        ({"to_number": {"a": 1}}, "to_number"),
        ({"to_number": "9" * 300}, "to_number"),
        ({"agent_id": 5}, "agent_id"),
    ],
)
def test_what_cannot_be_meant_is_kept_with_the_field_that_is_wrong(change: dict[str, Any], field: str) -> None:
    raw = orjson.dumps({name: value for name, value in (COMPLETED | change).items() if value is not None})
    taken = take(raw)
    assert field in (taken.reason or "")
    assert taken.refused is None
    assert rejected(taken)["reason"] == (taken.reason or "")[:300]


def test_numbers_may_come_as_texts() -> None:
    texts = {"retry_count": "2", "call_duration": "15.7", "call_cost": "0.15", "to_number": "00 91 88828-76897"}
    event = taken_event(take(orjson.dumps(COMPLETED | texts)))
    assert (event.attempt, event.duration_seconds, event.cost) == (2, 15.7, 0.15)
    assert event.number == "+918882876897"


@pytest.mark.parametrize(
    ("called_on", "at"),
    [
        ("2025-12-14T19:37:13.310707Z", 1_765_741_033.310707),
        ("2025-12-14T19:37:13.310707+00:00", 1_765_741_033.310707),
        ("2025-12-15T01:07:13.310707+05:30", 1_765_741_033.310707),
        ("2025-12-14T19:37:13", 1_765_741_033.0),
        (1_765_741_033, 1_765_741_033.0),
        (1_765_741_033_310, 1_765_741_033.31),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read_in_every_form(called_on: Any, at: float | None) -> None:
    assert taken_event(take(orjson.dumps(COMPLETED | {"called_on": called_on}))).at == at


def test_of_doubled_keys_the_last_counts_as_for_every_other_reader() -> None:
    raw = b'{"event_type":"call_completed","call_id":"a","call_id":"b","status":"failed"}'
    taken = take(raw)
    assert taken_event(taken).call_id == "b"
    assert raw in (taken.records[0].value or b"")


def test_huge_integers_in_the_body_do_no_harm() -> None:
    raw = orjson.dumps(COMPLETED)[:-1] + b',"extra":' + b"9" * 400 + b"}"
    assert take(raw).refused == NOT_JSON  # no JSON reader could give it back
    raw = orjson.dumps(COMPLETED)[:-1] + b',"extra":' + b"9" * 40 + b"}"
    assert taken_event(take(raw)).call_id == "call-1"


@pytest.mark.parametrize(("depth", "fits"), [(50, True), (MAX_NESTING - 1, True), (MAX_NESTING, False), (1_000, False)])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_that_the_next_reader_could_not_follow_is_not_taken(
    depth: int, fits: bool, opening: bytes, closing: bytes
) -> None:
    nested = opening * depth + (b"1" if closing == b"}" else b"") + closing * depth
    taken = take(orjson.dumps(COMPLETED)[:-1] + b',"custom_args_values":{"x":1},"extra":' + nested + b"}")
    assert (taken.reason is None) == fits
    if fits:
        assert taken_event(taken).call_id == "call-1"
    else:
        assert "nested" in str(rejected(taken)["reason"])


def test_a_long_transcript_is_not_mistaken_for_deep_nesting() -> None:
    body = COMPLETED | {"transcript": [{"bot": "hello"}] * 500}
    assert taken_event(take(orjson.dumps(body))).raw == body


def test_who_does_not_prove_who_it_is_leaves_nothing_behind() -> None:
    with pytest.raises(NotAuthentic):
        INTAKE.take(CIMultiDict({"X-Webhook-Secret": "wrong"}), orjson.dumps(COMPLETED))


def test_a_signed_id_is_the_events_id() -> None:
    key = "whsec_" + base64.b64encode(b"sixteen-bytes-ok").decode()
    signed = account(webhook={"auth": {"type": "standard-webhooks", "secret": key}})
    raw = orjson.dumps(COMPLETED)
    headers = CIMultiDict(proof(StandardWebhooks(key), raw, "msg_7", time.time()))
    assert Intake(signed, Ringg(), TOPICS).take(headers, raw).event_id == "msg_7"


def test_the_trace_goes_on_and_one_begins_where_there_is_none() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    raw = orjson.dumps(COMPLETED)
    assert dict(take(raw, traceparent=trace).records[0].headers)["traceparent"] == trace.encode()
    for given in ("", "nonsense", "é" * 55, trace + "0"):
        begun = dict(take(raw, traceparent=given).records[0].headers)
        assert begun["v"] == b"1"
        assert len(begun["traceparent"]) == 55
        assert begun["traceparent"] != given.encode()
