"""Reading call events as Kafka holds them: without the webhook's body, where no rule looks into it.

Most of a record is that body. Leaving it unread spares the parser's copy, and everything that would hold it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from consumer.model.codec import CodecError, decode_event
from consumer.model.events import CallEvent, Position
from consumer.model.rules import EventRule, Rule, TotalsRule

Place = tuple[str, int, int]
"""Topic, partition and offset of a record: a ``Position`` that few events need."""
Reader = Callable[[bytes | None, Place, float], CallEvent]
"""Reads the value of a record, of this place and time of the broker (seconds); raises ``CodecError``."""

_NO_KEY = "(unread)"  # no record has it, so the body is skipped as what nobody has heard of
_Bodiless = msgspec.defstruct(
    "Bodiless",
    [("raw", dict[str, Any], msgspec.field(name=_NO_KEY, default_factory=dict))],
    bases=(CallEvent,),
    frozen=True,
    gc=False,
)
_read_bodiless: Callable[[bytes], Any] = msgspec.json.Decoder(_Bodiless).decode


def reader_for(rules: Iterable[Rule]) -> Reader:
    """Give what reads as much of each event as any of the rules may look at."""
    return with_body if any(_looks_at_body(rule) for rule in rules) else without_body


def with_body(value: bytes | None, place: Place, logged_at: float) -> CallEvent:
    """Read all of an event."""
    return decode_event(value, Position(*place), logged_at)


def without_body(value: bytes | None, _: Place, logged_at: float) -> CallEvent:
    """Read an event whose ``raw`` is empty and which does not know its place."""
    try:
        event: CallEvent = _read_bodiless(value or b"")
    except msgspec.DecodeError as error:
        raise CodecError(f"the record is not a call event: {error}") from error
    force_setattr(event, "logged_at", logged_at)
    return event


def _looks_at_body(rule: Rule) -> bool:
    if isinstance(rule, EventRule):
        return rule.looks_at_body
    if isinstance(rule, TotalsRule):
        return any(one.function is not None or one.path[0] == "raw" for one in rule.measures.values())
    return False
