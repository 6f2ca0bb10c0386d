from typing import Any, NamedTuple

import orjson
import pytest

from consumer.model.codec import CodecError, decode_event, encode_event
from consumer.model.events import CallEvent, Position
from consumer.model.outline import LONG, Outline, decode_outline
from consumer.model.status import EventType, Status
from tests.unit.values import event

POSITION = Position("call-events", 3, 17)


class Record(NamedTuple):
    """A record as it was read."""

    value: bytes | None
    topic: str = POSITION.topic
    partition: int = POSITION.partition
    offset: int = POSITION.offset
    timestamp: int = 9_000


def outline_of(value: bytes | None) -> Outline:
    return decode_outline(Record(value))


TOLD = event(
    "e1",
    Status.COMPLETED,
    type=EventType.ANALYSIS,
    attempt=1,
    campaign_id="k",
    number="+15550000001",
    at=5.0,
    duration_seconds=2.5,
    cost=0.25,
    connected=True,
    analysis={"opt_out": True},
    args={"name": "Jörg"},
    raw={"status": "completed", "args": {"name": "of the body"}},
)


@pytest.fixture(params=["short", "long"])
def told(request: pytest.FixtureRequest) -> CallEvent:
    """One that is read as a whole, and one whose body is cut off."""
    return TOLD if request.param == "short" else TOLD.replaced(raw={"transcript": "x" * LONG, **TOLD.raw})


def test_an_outline_says_all_that_the_event_says(told: CallEvent) -> None:
    record = encode_event(told)
    whole, outline = decode_event(record, POSITION, 9.0), outline_of(record)
    for name in whole.__struct_fields__:
        assert getattr(outline, name) == getattr(whole, name), name


def test_an_outline_that_is_changed_still_says_the_rest(told: CallEvent) -> None:
    changed = outline_of(encode_event(told)).replaced(status=Status.FAILED)
    assert (changed.status, changed.args["name"], changed.raw["status"]) == (Status.FAILED, "Jörg", "completed")


def test_an_event_without_details_has_empty_ones() -> None:
    outline = outline_of(encode_event(event("e1")))
    assert (dict(outline.analysis), dict(outline.args), dict(outline.raw)) == ({}, {}, {})


@pytest.mark.parametrize("name", ["args", "raw"])
@pytest.mark.parametrize("value", [None, 5, "text", ["list"]])
def test_details_that_are_no_object_are_empty(told: CallEvent, name: str, value: object) -> None:
    record = orjson.dumps({**orjson.loads(encode_event(told)), name: value})
    outline = outline_of(record)
    assert dict(getattr(outline, name)) == {}
    assert outline.status is Status.COMPLETED


@pytest.mark.parametrize("details", [{"args": {"x": 1, "raw": {"y": 2}}}, {"analysis": {"a": {"b": 1, "raw": {}}}}])
def test_what_looks_like_a_body_within_something_else_is_none(told: CallEvent, details: dict[str, Any]) -> None:
    record = encode_event(told.replaced(campaign_id='c","raw":{', **details))
    assert record.endswith(b"}}")
    whole, outline = decode_event(record, POSITION, 9.0), outline_of(record)
    for name in whole.__struct_fields__:
        assert getattr(outline, name) == getattr(whole, name), name


def test_a_record_whose_body_is_broken_tells_the_rest_and_has_no_details(told: CallEvent) -> None:
    outline = outline_of(encode_event(told)[:-1])
    assert (outline.call_id, outline.status) == (TOLD.call_id, Status.COMPLETED)
    assert (dict(outline.args), dict(outline.raw)) == ({}, {})


def test_what_follows_the_body_is_read(told: CallEvent) -> None:
    outline = outline_of(encode_event(told.replaced(source="history")))
    assert (outline.source, outline.raw["status"]) == ("history", "completed")


@pytest.mark.parametrize("record", [None, b"", b"[]", b"{}", b'{"account": 5}', encode_event(TOLD)[:40]])
def test_what_is_no_event_is_refused(record: bytes | None) -> None:
    with pytest.raises(CodecError, match="not a call event"):
        outline_of(record)
