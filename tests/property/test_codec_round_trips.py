import sqlite3
from contextlib import closing
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from consumer.correlate.calls import SCHEMA, Calls
from consumer.model.calls import Call, fold
from consumer.model.codec import (
    CodecError,
    decode_event,
    decode_order_record,
    encode_event,
    encode_fact,
    encode_order,
)
from consumer.model.events import CallEvent, Position
from consumer.model.orders import Author, Fact, FactKind, Mode, Reach, StopOrder
from consumer.model.status import EventType, Status
from consumer.model.termination_codec import (
    decode_termination,
    decode_termination_record,
    encode_termination,
    encode_termination_record,
)
from consumer.model.terminations import (
    AnswerClass,
    Attempt,
    Decision,
    Ended,
    Looked,
    Record,
    Result,
    State,
    Termination,
    fold_termination,
)
from tests.property.test_scopes_cover import SCOPES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
TIMES = st.floats(0, 2e9)
COUNTS = st.integers(0, 1_000)
POSITIONS = st.builds(Position, topic=TEXTS, partition=COUNTS, offset=st.integers(0, 2**53))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
IDS = st.tuples(TEXTS) | st.tuples(TEXTS, TEXTS)
EVENTS = st.builds(
    CallEvent,
    account=TEXTS,
    provider=TEXTS,
    call_id=TEXTS,
    event_id=TEXTS,
    type=st.sampled_from(EventType),
    status=st.none() | st.sampled_from(Status),
    attempt=st.none() | COUNTS,
    campaign_id=st.none() | TEXTS,
    agent_id=st.none() | TEXTS,
    number=st.none() | TEXTS,
    from_number=st.none() | TEXTS,
    at=st.none() | TIMES,
    duration_seconds=st.none() | TIMES,
    cost=st.none() | TIMES,
    connected=st.booleans(),
    analysis=OBJECTS,
    args=OBJECTS,
    raw=OBJECTS,
    source=TEXTS,
    logged_at=TIMES,
    position=POSITIONS,
)
AUTHORS = st.builds(Author, kind=TEXTS, name=TEXTS, version=st.none() | TEXTS, hash=st.none() | TEXTS)
ORDERS = st.builds(
    StopOrder,
    order_id=TEXTS,
    account=TEXTS,
    scope=SCOPES,
    reason=st.just("") | TEXTS,
    by=AUTHORS,
    reach=st.sampled_from(Reach),
    hold=st.none() | st.just(0.0) | TIMES,
    mode=st.sampled_from(Mode),
    lane=st.integers(0, 2),
    canary_share=st.floats(0, 1),
    canary_campaigns=st.just(()) | IDS,
    allow_live=st.booleans(),
    evidence=st.lists(POSITIONS, max_size=2).map(tuple),
    explanation=st.none() | OBJECTS,
    at=TIMES,
)
FACTS = st.builds(
    Fact,
    order_id=TEXTS,
    kind=st.sampled_from(FactKind),
    by=AUTHORS,
    reason=TEXTS,
    at=TIMES,
    details=st.none() | OBJECTS,
)
OF: dict[str, Any] = {"termination_id": st.just("t"), "account": TEXTS, "call_id": TEXTS, "episode": COUNTS}
DECISIONS = st.builds(
    Decision,
    **OF,
    orders=IDS,
    mode=st.sampled_from(Mode),
    lane=st.integers(0, 2),
    decided_at=TIMES,
    status=st.sampled_from(Status),
    attempt=COUNTS,
    campaign_id=st.none() | TEXTS,
    number=st.none() | TEXTS,
    evidence=st.lists(POSITIONS, max_size=2).map(tuple),
    bulk=st.booleans(),
    scope=st.none() | SCOPES,
    since=TIMES,
)
RESULTS = st.builds(
    Result,
    **OF,
    at=TIMES,
    request_id=st.none() | TEXTS,
    n=COUNTS,
    answer=st.none() | st.sampled_from(AnswerClass),
    outcome=st.none() | st.sampled_from(State),
    http_status=st.none() | st.integers(100, 599),
    detail=st.just("") | TEXTS,
    retry_at=TIMES,
    orders=st.just(()) | IDS,
    late_seconds=st.none() | TIMES,
)
RECORDS = st.one_of(
    DECISIONS,
    RESULTS,
    st.builds(Ended, **OF, status=st.sampled_from(Status), at=TIMES, evidence=st.none() | POSITIONS, source=TEXTS),
    st.builds(Attempt, **OF, request_id=TEXTS, n=COUNTS, at=TIMES, orders=IDS, size=st.integers(1, 100)),
    st.builds(Looked, **OF, at=TIMES, waiting=st.booleans(), detail=st.just("") | TEXTS),
)


@given(EVENTS)
def test_an_event_is_read_back_as_it_was(event: CallEvent) -> None:
    assert event.position
    assert decode_event(encode_event(event), event.position, event.logged_at) == event


@given(OBJECTS, st.sampled_from([b"", b" ", b"\r\n\t"]))
def test_the_body_is_kept_byte_for_byte(body: dict[str, Any], blank: bytes) -> None:
    raw = blank + orjson.dumps(body, option=orjson.OPT_INDENT_2) + blank
    event = CallEvent("a", "p", "c", "e", EventType.OTHER, raw=body)
    record = encode_event(event, raw)
    assert raw in record
    assert decode_event(record, Position("t", 0, 0), 0.0).raw == body


@given(ORDERS)
def test_an_order_is_read_back_as_it_was(order: StopOrder) -> None:
    assert decode_order_record(encode_order(order), order.at) == order


@given(FACTS)
def test_a_fact_is_read_back_as_it_was(fact: Fact) -> None:
    assert decode_order_record(encode_fact(fact), fact.at) == fact


@given(RECORDS)
def test_a_record_about_a_termination_is_read_back_as_it_was(record: Record) -> None:
    assert decode_termination_record(encode_termination_record(record)) == record


@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_a_termination_is_read_back_with_all_its_facts(records: list[Record]) -> None:
    termination: Termination | None = None
    for record in records:
        termination = fold_termination(termination, record)
    assert termination
    assert decode_termination(encode_termination(termination)) == termination


@given(
    st.lists(EVENTS.map(lambda event: event.replaced(account="a", call_id="c", provider="p")), min_size=1, max_size=6)
)
def test_a_call_is_found_in_its_view_as_it_was_put(events: list[CallEvent]) -> None:
    call: Call | None = None
    for event in events:
        call = fold(call, event)
    assert call
    call = call.with_decided(("order-1",))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        calls = Calls(connection)
        calls.put(call, None)
        calls.save(connection)
        found = calls.get("a", "c")
    assert found == call


@given(st.one_of(st.binary(max_size=40), JSON.map(orjson.dumps), OBJECTS.map(orjson.dumps)) | st.none())
def test_a_foreign_record_is_refused_and_nothing_else_is_raised(value: bytes | None) -> None:
    for decode in (
        lambda: decode_event(value, Position("t", 0, 0), 0.0),
        lambda: decode_order_record(value, 0.0),
        lambda: decode_termination_record(value),
    ):
        try:
            decode()
        except CodecError:
            continue
        raise AssertionError("a foreign record was taken")


@given(st.data())
def test_a_record_of_ours_with_one_field_spoilt_is_refused_or_can_still_be_folded(data: st.DataObject) -> None:
    event, order, record = data.draw(EVENTS), data.draw(ORDERS), data.draw(RECORDS)
    for encoded in (encode_event(event), encode_order(order), encode_termination_record(record)):
        fields = orjson.loads(encoded)
        fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(JSON)
        spoilt = orjson.dumps(fields)
        try:
            if encoded == encode_event(event):
                one = decode_event(spoilt, Position("t", 0, 0), 0.0)
                fold(fold(None, one), one.replaced(event_id="another"))
            elif encoded == encode_order(order):
                decode_order_record(spoilt, 0.0)
            else:
                again = decode_termination_record(spoilt)
                encode_termination(fold_termination(fold_termination(None, again), again))
        except CodecError:
            continue
