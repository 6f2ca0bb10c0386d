"""Records of the topics as JSON: how each word of the model is written and read.

The header ``v`` of a record names the format. Our own readers go by what a record holds, and refuse one whose fields are not
as they should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import msgspec
import orjson
from msgspec.structs import force_setattr, replace

from consumer.model.calls import Call
from consumer.model.events import NEVER, Body, CallEvent, Position
from consumer.model.orders import Author, Fact, FactKind, Mode, Reach, StopOrder
from consumer.model.scopes import Scope, ScopeError

VERSION = b"1"
DETAILS_FOLLOW = b"\t"
"""Stands before ``args`` and the body of an event, and nowhere before that: within strings, JSON has no tabs."""
T = TypeVar("T")


class CodecError(ValueError):
    """A record that is not one of ours."""


_TEXT, _NUMBER, _COUNT, _OBJECT = frozenset({str}), frozenset({int, float}), frozenset({int}), frozenset({dict})
_TYPES: dict[str, frozenset[type]] = (
    dict.fromkeys(("account", "provider", "call_id", "event_id", "source", "order_id", "termination_id"), _TEXT)
    | dict.fromkeys(("request_id", "campaign_id", "agent_id", "number", "from_number", "reason", "detail"), _TEXT)
    | dict.fromkeys(("at", "duration_seconds", "cost", "hold", "decided_at", "retry_at", "canary_share"), _NUMBER)
    | dict.fromkeys(("attempt", "episode", "n", "lane", "size"), _COUNT)
    | dict.fromkeys(("analysis", "args", "raw"), _OBJECT)
)
"""What a field of any record holds, unless it is null; one of another type would break whoever folds it."""
_MOST = 1_000_000


def loads(value: bytes | None) -> dict[str, Any]:
    """Parse a record's value into an object.

    Raises:
        CodecError: not JSON, or not an object.

    """
    try:
        parsed = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise CodecError(f"the record is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise CodecError("the record is not a JSON object")
    return parsed


def encode_event(event: CallEvent, raw: bytes | None = None) -> bytes:
    """Write a call event without what is empty; ``raw`` is the body's own JSON text, kept as it came.

    ``args`` and the body come last, behind the record's first tab: whoever has no use for them, as the fold, need not read
    over them.
    """
    if raw is None:
        raw = event.raw.json if isinstance(event.raw, Body) else orjson.dumps(event.raw)
    body: Any = msgspec.Raw(DETAILS_FOLLOW + raw)
    args: Any = msgspec.Raw(DETAILS_FOLLOW + _write(event.args)) if event.args else {}
    return _write(replace(event, args=args, raw=body, logged_at=NEVER, position=None))


_write = msgspec.json.Encoder().encode
_read_event = msgspec.json.Decoder(CallEvent).decode


def decode_event(value: bytes | None, position: Position, logged_at: float) -> CallEvent:
    """Read a call event back; ``logged_at`` is the broker's timestamp in seconds.

    Raises:
        CodecError: the record is not a call event.

    """
    try:
        event = _read_event(value or b"")
    except msgspec.DecodeError as error:
        raise CodecError(f"the record is not a call event: {error}") from error
    unread: Any = event.raw  # the text of the body
    raw = bytes(unread)
    if raw and not raw.startswith(b"{"):
        raise CodecError("the record is not a call event: raw is no object")
    force_setattr(event, "raw", Body(raw or b"{}"))
    force_setattr(event, "logged_at", logged_at)
    force_setattr(event, "position", position)
    return event


_CALL_FIELDS = Call.__struct_fields__


def encode_carried(call: Call) -> bytes:
    """Write a call as a whole, with the names of its fields: what a view need not keep, people want to read."""
    return orjson.dumps({"carried": dict(zip(_CALL_FIELDS, msgspec.to_builtins(call), strict=True))})


def is_carried(value: bytes | None) -> bool:
    """Whether a record of ``call-events`` is a call written as a whole."""
    return value is not None and value.startswith(b'{"carried":')


def decode_carried(value: bytes | None) -> Call:
    """Read a call that was written as a whole.

    Raises:
        CodecError: the record is not a call.

    """
    try:
        told = loads(value)["carried"]
        return msgspec.convert([told[name] for name in _CALL_FIELDS], Call)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise CodecError(f"the record is not a call: {error!r}") from error


def encode_order(order: StopOrder) -> bytes:
    """Write a stop order as the ``stop-orders`` topic holds it."""
    record = _plain(order)
    record["kind"] = "order"
    record["scope"] = order.scope.as_dict()
    return _dumps(record)


def encode_fact(fact: Fact) -> bytes:
    """Write something that happened to an order."""
    return orjson.dumps({**_plain(fact), "fact": fact.kind, "kind": "fact"})


def decode_order_record(value: bytes | None, logged_at: float) -> StopOrder | Fact:
    """Read a record of ``stop-orders``.

    Raises:
        CodecError: neither an order nor a fact.

    """
    record = loads(value)
    _check_types(record, ("order_id",))
    try:
        if record["kind"] == "fact":
            return Fact(
                order_id=record["order_id"],
                kind=FactKind(record["fact"]),
                by=Author(**record["by"]),
                reason=record["reason"],
                at=logged_at,
                details=record.get("details"),
            )
        return StopOrder(
            order_id=record["order_id"],
            account=record["account"],
            scope=Scope.parse(record["scope"]),
            reason=record["reason"],
            by=Author(**record["by"]),
            reach=Reach(record["reach"]),
            hold=record["hold"],
            mode=Mode(record["mode"]),
            lane=record["lane"],
            canary_share=record.get("canary_share", 1.0),
            canary_campaigns=_texts(record.get("canary_campaigns") or ()),
            allow_live=record.get("allow_live", False),
            evidence=_positions(record.get("evidence") or ()),
            explanation=record.get("explanation"),
            at=logged_at,
        )
    except (KeyError, TypeError, ValueError, ScopeError) as error:
        raise CodecError(f"the record is not a stop order: {error!r}") from error


_NAMES = {cls: tuple(f.name for f in fields(cls)) for cls in (StopOrder, Fact)}


def _plain(value: Any) -> dict[str, Any]:
    """Turn a record into a dict without its empty fields, but for those whose emptiness has a meaning."""
    return {
        name: content
        for name in _NAMES[type(value)]
        if (content := getattr(value, name)) not in (None, (), "") or name in {"hold", "reason", "detail", "call_id"}
    }


def _dumps(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record, default=_as_object)


def _as_object(value: object) -> dict[str, Any]:
    """Write a position with the names of its parts; orjson asks for each named tuple."""
    if isinstance(value, Position):
        return value._asdict()
    raise TypeError(f"{type(value).__name__} is no part of a record")


def _check_types(record: Mapping[str, Any], required: Sequence[str]) -> None:
    for name in required:
        if record.get(name) is None:
            raise CodecError(f"the record has no {name}")
    for name, value in record.items():
        wanted = _TYPES.get(name)
        if wanted is not None and value is not None and type(value) not in wanted:
            raise CodecError(f"the record's {name} is a {type(value).__name__}")
        if wanted is _COUNT and value is not None and not 0 <= value <= _MOST:
            raise CodecError(f"the record's {name} is {value}, which is no count")


def _build(cls: type[T], raw: Mapping[str, Any], **given: Any) -> T:
    names = _NAMES[cls]  # type: ignore[index]  # a narrower key than the table's
    return cls(**{name: raw[name] for name in names if raw.get(name) is not None and name not in given}, **given)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if any(type(value) is not str for value in values):
        raise TypeError("a list of ids holds something else")
    return tuple(values)


def _positions(values: Sequence[Mapping[str, Any]]) -> tuple[Position, ...]:
    if any(
        type(v["topic"]) is not str or type(v["partition"]) is not int or type(v["offset"]) is not int for v in values
    ):
        raise TypeError("a position is not topic, partition and offset")
    return tuple(Position(v["topic"], v["partition"], v["offset"]) for v in values)
