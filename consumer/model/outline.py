"""Call events as the fold reads them: most of a record is the webhook's body, and most events are asked for nothing of it."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec.structs import force_setattr

from consumer.model.codec import DETAILS_FOLLOW, CodecError
from consumer.model.events import NEVER, Body, CallEvent, Position, Unread

NOTHING = Body(b"{}")
NO_DETAILS = b"[]}"
"""Ends a record that is cut off. No field that the fold reads holds a list, so a tab of somebody else's is noticed."""


class Logged(Protocol):
    """A record as it was read; ``timestamp`` is the broker's, in milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class _Outline(CallEvent, frozen=True, gc=False):
    """An event that keeps its record, in fields that no decoder finds, as no record has these names."""

    analysis: Mapping[str, Any] = NOTHING  # the same for all that have none
    args: Mapping[str, Any] = msgspec.field(name="(no args)", default=NOTHING)
    raw: Unread = msgspec.field(name="(no raw)", default=NOTHING)
    logged_at: float = msgspec.field(name="(no time)", default=NEVER)
    position: Position | None = msgspec.field(name="(no position)", default=None)
    logged: Logged | None = msgspec.field(name="(no log)", default=None)
    details: dict[str, Mapping[str, Any]] | None = msgspec.field(name="(no details)", default=None)


class Outline(_Outline, frozen=True, gc=False):
    """A call event whose ``args`` and ``raw``, most of its record, are read when somebody looks at them.

    They are empty where they are not as they should be: by then, the event has been folded. Where and when it was logged, its
    record tells.
    """

    @property  # type: ignore[misc]  # in the place of a field that stays empty
    def args(self) -> Mapping[str, Any]:
        return self._detail("args")

    @property  # type: ignore[misc]  # as above
    def raw(self) -> Mapping[str, Any]:
        return self._detail("raw")

    @property  # type: ignore[misc]  # as above
    def logged_at(self) -> float:
        return self.logged.timestamp / 1_000 if self.logged else NEVER

    @property  # type: ignore[misc]  # as above
    def position(self) -> Position | None:
        logged = self.logged
        return Position(logged.topic, logged.partition, logged.offset) if logged else None

    @property
    def offset(self) -> int | None:
        return self.logged.offset if self.logged else None

    def _detail(self, name: str) -> Mapping[str, Any]:
        known = self.details
        if known is None:
            force_setattr(self, "details", known := {})
        if name not in known:
            known[name] = _read_detail(name, (self.logged and self.logged.value) or b"{}")
        return known[name]


class _Args(msgspec.Struct, gc=False):
    args: Mapping[str, Any] = {}


class _Raw(msgspec.Struct, gc=False):
    raw: msgspec.Raw = msgspec.Raw(b"{}")


_read_outline = msgspec.json.Decoder(Outline).decode
_read_args = msgspec.json.Decoder(_Args).decode
_read_raw = msgspec.json.Decoder(_Raw).decode


def _read_detail(name: str, record: bytes) -> Mapping[str, Any]:
    try:
        if name == "args":
            return _read_args(record).args
        text = bytes(_read_raw(record).raw)
    except msgspec.DecodeError:
        return NOTHING
    return Body(text) if text.startswith(b"{") else NOTHING


def decode_outline(record: Logged) -> Outline:
    """Read a call event as far as the fold looks at it: up to the tab that its details are behind, where it has one.

    Raises:
        CodecError: the record is not a call event.

    """
    text = record.value or b""
    head, details_follow, _ = text.partition(DETAILS_FOLLOW)
    try:
        event = _read_outline(head + NO_DETAILS if details_follow else text)
    except msgspec.DecodeError:
        event = _read_whole(text)
    force_setattr(event, "logged", record)
    return event


def _read_whole(text: bytes) -> Outline:
    """Read a record whose tabs are not ours."""
    try:
        return _read_outline(text)
    except msgspec.DecodeError as error:
        raise CodecError(f"the record is not a call event: {error}") from error
