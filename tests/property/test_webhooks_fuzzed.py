import contextlib
import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from consumer.ingest.authenticate import NotAuthentic, authenticate
from consumer.ingest.intake import Intake
from consumer.kafka.topics import Topics
from consumer.model.codec import decode_event
from consumer.model.events import Position
from consumer.model.provider import BatchOfCallIds
from handlers.providers.revenueable import Revenueable
from handlers.providers.ringg import EVENT_TYPES, Ringg
from tests.property.test_codec_round_trips import JSON
from tests.unit.values import ACCOUNT, SECRET, account

TOPICS = Topics.named()
MAPPED = {"campaign_id": "custom_args_values.campaign", "event_id": "id", "at": "when", "attempt": "data.tries"}
INTAKES = [
    Intake(account(), Ringg(), TOPICS),
    Intake(
        account(webhook={"auth": {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}, "fields": MAPPED}),
        Ringg(),
        TOPICS,
    ),
]
SCHEMES: list[dict[str, Any]] = [
    {"type": "header", "name": "X-Secret", "secret": SECRET},
    {"type": "bearer", "secret": SECRET},
    {"type": "hmac-sha256", "header": "X-Signature", "secret": SECRET, "prefix": "v="},
    {"type": "hmac-sha256", "header": "X-Signature", "secret": SECRET, "encoding": "base64"},
    {"type": "standard-webhooks", "secret": "whsec_c2l4dGVlbi1ieXRlcy1vaw=="},
]
AUTHS = [account(webhook={"auth": scheme}).webhook.auth for scheme in SCHEMES]
NAMES = st.sampled_from(
    ["X-Secret", "Authorization", "x-signature", "webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"]
)
HEADERS = st.dictionaries(NAMES, st.text(max_size=30) | st.text("v1=,. \udcff0abcdef+/", max_size=30))
ODD = JSON | st.sampled_from(
    [[], {}, "", "0", "1e3", -1, 10**30, 1e300, "\ud800", "completed", "RETRY", "+91888", True]
)
FIELDS = [
    "status",
    "retry_count",
    "retry",
    "call_duration",
    "call_cost",
    "to_number",
    "called_on",
    "agent_id",
    "when",
    "id",
]
PARTS = st.fixed_dictionaries(
    {"call_id": st.just("call-1") | ODD},
    optional=dict.fromkeys((*FIELDS, "bulk_list_id", "analysis", "custom_args_values", "from_number"), ODD),
)
BODIES = st.one_of(
    st.builds(
        lambda part, kind: {**part, "event_type": kind}, PARTS, st.sampled_from([*EVENT_TYPES, "call_dialled"]) | ODD
    ),
    st.builds(lambda part: {"status": "success", "data": part}, PARTS),
    JSON,
)
RAW = st.binary(max_size=80) | BODIES.map(lambda body: json.dumps(body).encode())


@given(st.sampled_from(AUTHS), HEADERS, st.binary(max_size=60))
def test_whoever_does_not_know_the_secret_is_refused_whatever_he_sends(auth: Any, headers: Any, body: bytes) -> None:
    with contextlib.suppress(NotAuthentic):
        authenticate(auth, CIMultiDict(headers), body)
        raise AssertionError("somebody was let in")


@given(
    st.sampled_from(INTAKES),
    HEADERS,
    RAW,
)
def test_every_body_becomes_records_that_can_be_read_again(intake: Intake, headers: dict[str, str], raw: bytes) -> None:
    taken = intake.take(CIMultiDict(headers | {"X-Webhook-Secret": SECRET}), raw)
    (record,) = taken.records
    if taken.reason is None:
        event = decode_event(record.value, Position(record.topic, record.partition, 0), 0.0)
        assert (event.account, event.event_id) == (ACCOUNT, taken.event_id)
        assert event.raw == orjson.loads(raw)
        assert 0 <= record.partition < TOPICS.call_events.partitions
    else:
        kept = orjson.loads(record.value or b"")
        assert kept["event_id"] == taken.event_id
        assert {"body", "body_base64"} & set(kept)
        assert 0 <= record.partition < TOPICS.rejected.partitions


@given(
    st.sampled_from([Ringg(), Revenueable()]),
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
        min_size=1,
        max_size=100,
        unique=True,
    ),
)
def test_a_terminate_request_names_exactly_the_calls_of_its_batch_and_nothing_else(
    provider: Ringg, ids: list[str]
) -> None:
    request = provider.terminate(account(), BatchOfCallIds.of(ids, provider.capabilities.batch_limit))
    assert orjson.loads(request.body or b"") == {"call_ids": ids}
    assert (request.body or b"").count(b'"call_ids"') == 1 + sum('"call_ids"' in one for one in ids)
