"""Call events as the fold reads them: most of a record is the webhook's body, and most events are asked for nothing of it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from consumer.model.codec import CodecError
from consumer.model.events import Body, CallEvent, Position, Unread

NOTHING = Body(b"{}")
BODY_BEGINS = b',"raw":'


class _Outline(CallEvent, frozen=True, gc=False):
    """An event whose details no decoder finds, as no record has these names."""

    args: Mapping[str, Any] = msgspec.field(name="(no args)", default=NOTHING)
    raw: Unread = msgspec.field(name="(no raw)", default=NOTHING)
    record: bytes = msgspec.field(name="(no record)", default=b"{}")
    details: dict[str, Mapping[str, Any]] | None = msgspec.field(name="(no details)", default=None)


class Outline(_Outline, frozen=True, gc=False):
    """A call event whose ``args`` and ``raw``, most of its record, are read when somebody looks at them.

    They are empty where they are not as they should be: by then, the event has been folded.
    """

    @property  # type: ignore[misc]  # in the place of a field that stays empty
    def args(self) -> Mapping[str, Any]:
        return self._detail("args")

    @property  # type: ignore[misc]  # as above
    def raw(self) -> Mapping[str, Any]:
        return self._detail("raw")

    def _detail(self, name: str) -> Mapping[str, Any]:
        known = self.details
        if known is None:
            force_setattr(self, "details", known := {})
        if name not in known:
            known[name] = _read_detail(name, self.record)
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


def _read_without_body(record: bytes) -> Outline:
    """Read a record that ends with its body, most of it, up to there: what is wrong in the body is no matter of the fold.

    Where the text that begins a body is found within something else, what is before it is no JSON.
    """
    before = record.find(BODY_BEGINS)
    try:
        return _read_outline(record[:before] + b"}" if before > 0 else record)
    except msgspec.DecodeError:
        return _read_outline(record)


def decode_outline(value: bytes | None, position: Position, logged_at: float) -> Outline:
    """Read a call event as far as the fold looks at it; ``logged_at`` is the broker's timestamp in seconds.

    Raises:
        CodecError: the record is not a call event.

    """
    record = value or b""
    try:
        event = _read_without_body(record) if record.endswith(b"}}") else _read_outline(record)
    except msgspec.DecodeError as error:
        raise CodecError(f"the record is not a call event: {error}") from error
    force_setattr(event, "logged_at", logged_at)
    force_setattr(event, "position", position)
    force_setattr(event, "record", value)
    return event
