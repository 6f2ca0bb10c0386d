"""Records of ``terminations`` and ``termination-log`` as JSON, and terminations as views keep them.

An attempt, and what came of it, is written for all calls of a request in one record: it is the same for all of them. A
reader gets a record for each call.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from consumer.model.codec import CodecError
from consumer.model.events import Count, Position
from consumer.model.orders import Mode
from consumer.model.scopes import Scope, ScopeError
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, Attempt, Decision, Ended, Looked, Record, Result, Termination


class _Place(Struct):
    topic: str
    partition: int
    offset: int


class _Stop(Struct, tag_field="kind", tag="stop", omit_defaults=True):
    """``Decision`` as it is written: the fields in the same order."""

    termination_id: str
    account: str
    call_id: str
    episode: Count
    orders: tuple[str, ...]
    mode: Mode
    lane: Count
    decided_at: float
    status: Status
    attempt: Count = 0
    campaign_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    evidence: tuple[_Place, ...] = ()
    bulk: bool = False
    scope: dict[str, Any] | None = None
    since: float = 0.0


class _End(Struct, tag_field="kind", tag="ended", omit_defaults=True):
    """``Ended`` as it is written: the fields in the same order."""

    termination_id: str
    account: str
    call_id: str
    episode: Count
    status: Status
    at: float
    evidence: _Place | None = None
    source: str = "webhook"


Named = tuple[str, str, Count, Count]
"""A call of a request: its termination, its id, its episode, and which of its attempts this is."""


class _Attempts(Struct, tag_field="kind", tag="attempts", omit_defaults=True):
    account: str
    request_id: str
    at: float
    calls: tuple[Named, ...]
    orders: tuple[str, ...] = ()
    size: Count = 1


class _Outcomes(Struct, tag_field="kind", tag="outcomes", omit_defaults=True):
    account: str
    request_id: str
    at: float
    calls: tuple[Named, ...]
    answer: AnswerClass | None = None
    http_status: int | None = None
    detail: str = ""
    retry_at: float = 0.0
    reported: int | None = None
    trace_id: str | None = None
    more: Mapping[str, Any] | None = None


_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(_Stop | _End | Attempt | Result | Looked | _Attempts | _Outcomes).decode
_keep = msgspec.msgpack.Encoder().encode
_kept = msgspec.msgpack.Decoder(Termination).decode


def encode_termination_record(record: Record) -> bytes:
    """Write a decision, an end, an attempt, an outcome or a look."""
    match record:
        case Decision():
            return _write(_stop(record))
        case Ended():
            return _write(_end(record))
        case _:
            return _write(record)


def encode_request(records: Iterable[Record]) -> Iterator[tuple[str, bytes]]:
    """Write the records of a request, those that say the same of several calls as one; gives each with its key."""
    for _, group in groupby(records, _what_is_shared):
        alike = list(group)
        shared = _said_of_all(alike[0]) if len(alike) > 1 else None
        if shared is None:
            yield from ((record.termination_id, encode_termination_record(record)) for record in alike)
        else:
            yield shared.request_id, _write(msgspec.structs.replace(shared, calls=tuple(map(_named, alike))))


def decode_termination_records(value: bytes | None) -> Sequence[Record]:
    """Read a record of ``terminations`` or ``termination-log``; one of a request gives a record for each of its calls.

    Raises:
        CodecError: it is none of them.

    """
    try:
        told = _read(value or b"")
        match told:
            case _Stop():
                return (_decision(told),)
            case _End():
                return (_ended(told),)
            case _Attempts():
                return _attempts(told)
            case _Outcomes():
                return _results(told)
            case _:
                return (told,)
    except (msgspec.DecodeError, ScopeError) as error:
        raise CodecError(f"the record is not about a termination: {error}") from error


def decode_termination_record(value: bytes | None) -> Record:
    """Read a record that is about one call only.

    Raises:
        CodecError: it is about several, or none.

    """
    records = decode_termination_records(value)
    if len(records) != 1:
        raise CodecError(f"the record is about {len(records)} terminations")
    return records[0]


def encode_termination(termination: Termination) -> bytes:
    """Write a termination with all its facts, as views keep it."""
    return _keep(termination)


def decode_termination(value: bytes) -> Termination:
    """Read what ``encode_termination`` wrote."""
    return _kept(value)


def _stop(record: Decision) -> _Stop:
    return _Stop(
        record.termination_id,
        record.account,
        record.call_id,
        record.episode,
        record.orders,
        record.mode,
        record.lane,
        record.decided_at,
        record.status,
        record.attempt,
        record.campaign_id,
        record.agent_id,
        record.number,
        tuple(_Place(*position) for position in record.evidence),
        record.bulk,
        record.scope.as_dict() if record.scope else None,
        record.since,
    )


def _decision(told: _Stop) -> Decision:
    return Decision(
        told.termination_id,
        told.account,
        told.call_id,
        told.episode,
        told.orders,
        told.mode,
        told.lane,
        told.decided_at,
        told.status,
        told.attempt,
        told.campaign_id,
        told.agent_id,
        told.number,
        tuple(Position(place.topic, place.partition, place.offset) for place in told.evidence),
        told.bulk,
        Scope.parse(told.scope) if told.scope else None,
        told.since,
    )


def _end(record: Ended) -> _End:
    of = record.termination_id, record.account, record.call_id, record.episode
    return _End(*of, record.status, record.at, _Place(*record.evidence) if record.evidence else None, record.source)


def _ended(told: _End) -> Ended:
    of = told.termination_id, told.account, told.call_id, told.episode
    at = told.evidence
    return Ended(*of, told.status, told.at, Position(at.topic, at.partition, at.offset) if at else None, told.source)


_shared_by_attempts = attrgetter("account", "request_id", "at", "orders", "size")
_shared_by_results = attrgetter(
    *("account", "request_id", "at", "answer", "http_status", "detail", "retry_at", "reported", "trace_id", "more"),
    *("outcome", "orders", "confirmed_by", "late_seconds"),
)


def _what_is_shared(record: Record) -> tuple[type[Record], tuple[Any, ...]]:
    """Give what is the same in those records of a request that are written as one."""
    match record:
        case Attempt():
            return Attempt, _shared_by_attempts(record)
        case Result(request_id=str()):
            return Result, _shared_by_results(record)
        case _:
            return type(record), (record.termination_id, record)


def _said_of_all(record: Record) -> _Attempts | _Outcomes | None:
    """What a record says of every call of its request alike; None where it is about one call only."""
    match record:
        case Attempt(account=account, request_id=request_id, at=at):
            return _Attempts(account, request_id, at, (), record.orders, record.size)
        case Result(account=account, request_id=str(request_id), at=at, outcome=None, orders=()):
            if record.confirmed_by is not None or record.late_seconds is not None:
                return None
            said = record.answer, record.http_status, record.detail, record.retry_at, record.reported, record.trace_id
            return _Outcomes(account, request_id, at, (), *said, record.more)
        case _:
            return None


def _named(record: Record) -> Named:
    assert isinstance(record, Attempt | Result)
    return record.termination_id, record.call_id, record.episode, record.n


def _attempts(told: _Attempts) -> list[Record]:
    return [
        Attempt(termination_id, told.account, call_id, episode, told.request_id, n, told.at, told.orders, told.size)
        for termination_id, call_id, episode, n in told.calls
    ]


def _results(told: _Outcomes) -> list[Record]:
    return [
        Result(
            termination_id,
            told.account,
            call_id,
            episode,
            told.at,
            told.request_id,
            n,
            told.answer,
            None,
            told.http_status,
            told.detail,
            told.retry_at,
            reported=told.reported,
            trace_id=told.trace_id,
            more=told.more,
        )
        for termination_id, call_id, episode, n in told.calls
    ]
