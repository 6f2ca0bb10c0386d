from typing import Any

import orjson
import pytest

from consumer.model.codec import CodecError, decode_event, encode_event
from consumer.model.events import Position
from consumer.model.outline import decode_outline
from consumer.model.status import EventType, Status
from tests.unit.values import event

POSITION = Position("call-events", 3, 17)
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


def test_an_outline_says_all_that_the_event_says() -> None:
    record = encode_event(TOLD)
    whole, outline = decode_event(record, POSITION, 9.0), decode_outline(record, POSITION, 9.0)
    for name in whole.__struct_fields__:
        assert getattr(outline, name) == getattr(whole, name), name


def test_an_outline_that_is_changed_still_says_the_rest() -> None:
    changed = decode_outline(encode_event(TOLD), POSITION, 9.0).replaced(status=Status.FAILED)
    assert (changed.status, changed.args["name"], changed.raw["status"]) == (Status.FAILED, "Jörg", "completed")


def test_an_event_without_details_has_empty_ones() -> None:
    outline = decode_outline(encode_event(event("e1")), POSITION, 9.0)
    assert (dict(outline.analysis), dict(outline.args), dict(outline.raw)) == ({}, {}, {})


@pytest.mark.parametrize("name", ["args", "raw"])
@pytest.mark.parametrize("value", [None, 5, "text", ["list"]])
def test_details_that_are_no_object_are_empty(name: str, value: object) -> None:
    record = orjson.dumps({**orjson.loads(encode_event(TOLD)), name: value})
    outline = decode_outline(record, POSITION, 9.0)
    assert dict(getattr(outline, name)) == {}
    assert outline.status is Status.COMPLETED


@pytest.mark.parametrize("details", [{"args": {"x": 1, "raw": {"y": 2}}}, {"analysis": {"a": {"b": 1, "raw": {}}}}])
def test_what_looks_like_a_body_within_something_else_is_none(details: dict[str, Any]) -> None:
    record = encode_event(TOLD.replaced(campaign_id='c","raw":{', **details))
    assert record.endswith(b"}}")
    whole, outline = decode_event(record, POSITION, 9.0), decode_outline(record, POSITION, 9.0)
    for name in whole.__struct_fields__:
        assert getattr(outline, name) == getattr(whole, name), name


def test_a_record_whose_body_is_broken_tells_the_rest_and_has_no_details() -> None:
    outline = decode_outline(encode_event(TOLD)[:-1], POSITION, 9.0)
    assert (outline.call_id, outline.status) == (TOLD.call_id, Status.COMPLETED)
    assert (dict(outline.args), dict(outline.raw)) == ({}, {})


def test_what_follows_the_body_is_read() -> None:
    outline = decode_outline(encode_event(TOLD.replaced(source="history")), POSITION, 9.0)
    assert (outline.source, outline.raw["status"]) == ("history", "completed")


@pytest.mark.parametrize("record", [None, b"", b"[]", b"{}", b'{"account": 5}', encode_event(TOLD)[:40]])
def test_what_is_no_event_is_refused(record: bytes | None) -> None:
    with pytest.raises(CodecError, match="not a call event"):
        decode_outline(record, POSITION, 9.0)
