import json
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest

from consumer.model.codec import CodecError, decode_event, encode_event
from consumer.model.events import CallEvent, Position
from consumer.model.outline import Outline, decode_outline
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


Written = Callable[[CallEvent], bytes]


def without_tabs(told: CallEvent) -> bytes:
    return orjson.dumps(orjson.loads(encode_event(told)))


def with_many_tabs(told: CallEvent) -> bytes:
    return json.dumps(orjson.loads(encode_event(told)), indent="\t").encode()


@pytest.fixture(params=[encode_event, without_tabs, with_many_tabs])
def written(request: pytest.FixtureRequest) -> Written:
    """As we write it, with what the fold has no use for behind a tab, and as others may."""
    chosen: Written = request.param
    return chosen


@pytest.mark.parametrize("args", [{"name": "Jörg"}, {}])
def test_what_the_fold_has_no_use_for_is_last_behind_the_first_tab_of_one_line(args: dict[str, str]) -> None:
    record = encode_event(TOLD.replaced(campaign_id="a\ttab", source="history", args=args))
    told, details = record.split(b"\t", 1)
    whole = orjson.loads(record)
    assert list(whole)[-2:] == (["args", "raw"] if args else ["source", "raw"])
    name = b"args" if args else b"raw"
    assert told.endswith(b'"%s":' % name)
    assert orjson.loads(told + b"{}}") == {
        **{n: v for n, v in whole.items() if n not in {"args", "raw"}},
        name.decode(): {},
    }
    assert orjson.loads(b'{"%s":%s' % (name, details)) == {n: whole[n] for n in ("args", "raw") if n in whole}
    assert b"\n" not in record
    assert outline_of(record).source == "history"


def test_an_outline_says_all_that_the_event_says(written: Written) -> None:
    record = written(TOLD)
    whole, outline = decode_event(record, POSITION, 9.0), outline_of(record)
    for name in whole.__struct_fields__:
        assert getattr(outline, name) == getattr(whole, name), name


def test_an_outline_that_is_changed_still_says_the_rest(written: Written) -> None:
    changed = outline_of(written(TOLD)).replaced(status=Status.FAILED)
    assert (changed.status, changed.args["name"], changed.raw["status"]) == (Status.FAILED, "Jörg", "completed")


def test_an_event_without_details_has_empty_ones() -> None:
    outline = outline_of(encode_event(event("e1")))
    assert (dict(outline.analysis), dict(outline.args), dict(outline.raw)) == ({}, {}, {})


@pytest.mark.parametrize("name", ["args", "raw"])
@pytest.mark.parametrize("value", [None, 5, "text", ["list"]])
def test_details_that_are_no_object_are_empty(name: str, value: object) -> None:
    record = orjson.dumps({**orjson.loads(encode_event(TOLD)), name: value})
    outline = outline_of(record)
    assert dict(getattr(outline, name)) == {}
    assert outline.status is Status.COMPLETED


@pytest.mark.parametrize("details", [{"args": {"x": 1, "raw": {"y": 2}}}, {"analysis": {"a": {"b": 1, "raw": {}}}}])
def test_what_looks_like_a_body_within_something_else_is_none(written: Written, details: dict[str, Any]) -> None:
    record = written(TOLD.replaced(campaign_id='c","raw":\t{', **details))
    whole, outline = decode_event(record, POSITION, 9.0), outline_of(record)
    for name in whole.__struct_fields__:
        assert getattr(outline, name) == getattr(whole, name), name


def test_a_body_with_tabs_is_read() -> None:
    body = b'{\n\t"status":\t"completed",\n\t"of": {\n\t\t"attempt": 7\n\t}\n}'
    outline = outline_of(encode_event(TOLD, body))
    assert (outline.attempt, dict(outline.raw)) == (1, orjson.loads(body))


@pytest.mark.parametrize("cut", [1, 2])
def test_a_record_whose_body_is_broken_tells_the_rest_and_has_no_details(cut: int) -> None:
    outline = outline_of(encode_event(TOLD)[:-cut])
    assert (outline.call_id, outline.status) == (TOLD.call_id, Status.COMPLETED)
    assert (dict(outline.args), dict(outline.raw)) == ({}, {})


@pytest.mark.parametrize("field", CallEvent.__struct_fields__)
def test_a_tab_that_others_put_before_any_field_hides_nothing(field: str) -> None:
    whole = TOLD.replaced(from_number="+15550000002", source="history")
    told = orjson.loads(encode_event(whole))
    tabbed = b",".join(b"%s:%s%s" % (orjson.dumps(n), b"\t" * (n == field), orjson.dumps(v)) for n, v in told.items())
    outline = outline_of(b"{%s}" % tabbed)
    for name in told:
        assert getattr(outline, name) == getattr(whole, name), name


@pytest.mark.parametrize("others", [without_tabs, with_many_tabs])
def test_what_others_tell_after_the_body_is_read(others: Written) -> None:
    outline = outline_of(others(TOLD)[:-1] + b',"source":"history"}')
    assert (outline.source, outline.raw["status"]) == ("history", "completed")


@pytest.mark.parametrize("record", [None, b"", b"[]", b"{}", b'{"account": 5}', encode_event(TOLD)[:40]])
def test_what_is_no_event_is_refused(record: bytes | None) -> None:
    with pytest.raises(CodecError, match="not a call event"):
        outline_of(record)
