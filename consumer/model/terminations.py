"""Terminations: one decision to stop one call in one episode, and everything that became of it.

Two topics tell of it. ``terminations`` carries what the correlator says: *stop* (these orders want this call stopped)
and *ended* (the call left the episode by itself or because it was stopped). ``termination-log`` carries what the
dispatcher did: *attempt* before each request, *outcome* after it and at the end. The two are read side by side, in no
fixed order, so a termination keeps facts and its state is derived from them; folding is commutative and idempotent.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from consumer.model.events import Count, Position
from consumer.model.orders import Mode
from consumer.model.scopes import Scope
from consumer.model.status import Status

T = TypeVar("T")


class State(StrEnum):
    """Where a termination stands. From ``confirmed`` on it is over, though a late webhook may still correct it."""

    WAITING = "waiting"
    REQUESTED = "requested"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    MISSED = "missed"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    WITHDRAWN = "withdrawn"
    SHADOW = "shadow"

    @property
    def over(self) -> bool:
        return self not in OPEN


OPEN = frozenset({State.WAITING, State.REQUESTED, State.UNKNOWN, State.ACCEPTED})


class AnswerClass(StrEnum):
    """What a provider's answer, or its absence, means. ``sent`` tells whether the request may have had an effect."""

    ACCEPTED = "accepted"
    NONE_TERMINABLE = "none_terminable"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    CREDENTIALS = "credentials"
    PERMISSION = "permission"
    POISON = "poison"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    CONFIGURATION = "configuration"

    @property
    def may_have_acted(self) -> bool:
        """Whether the request counts as a send; a refusal that changed nothing does not."""
        return self in {AnswerClass.ACCEPTED, AnswerClass.UNKNOWN, AnswerClass.NONE_TERMINABLE, AnswerClass.CONFLICT}


class Decision(Struct, frozen=True, gc=False, omit_defaults=True):
    """*Stop*: these orders want this call stopped, as far as the correlator knows at ``decided_at`` (broker's time).

    ``since`` is when the call began to wait (broker's time): who waits longest is dialled soonest. ``scope`` makes it a stop
    of the whole scope by the provider itself; such a decision names no call. ``bulk`` says that it comes from looking through
    many calls, so that others follow at once and a full batch is near.
    """

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
    evidence: tuple[Position, ...] = ()
    bulk: bool = False
    scope: Scope | None = None
    since: float = 0.0


class Ended(Struct, frozen=True, gc=False, omit_defaults=True):
    """*Ended*: the call left its episode; ``status`` says how, ``at`` when (provider's time, else the broker's)."""

    termination_id: str
    account: str
    call_id: str
    episode: Count
    status: Status
    at: float
    evidence: Position | None = None
    source: str = "webhook"


class Attempt(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="attempt"):
    """*Attempt*: the request ``request_id`` naming this call is about to be made; the ``n``-th for it, from 1.

    0 is the request for an earlier episode of the call, which may have stopped this one too.
    """

    termination_id: str
    account: str
    call_id: str
    episode: Count
    request_id: str
    n: Count
    at: float
    orders: tuple[str, ...] = ()
    size: Count = 1


class Result(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="outcome"):
    """*Outcome*: what came of a request (``request_id`` set), or how the termination ended (``outcome`` set)."""

    termination_id: str
    account: str
    call_id: str
    episode: Count
    at: float
    request_id: str | None = None
    n: Count = 0
    answer: AnswerClass | None = None
    outcome: State | None = None
    http_status: int | None = None
    detail: str = ""
    retry_at: float = 0.0
    orders: tuple[str, ...] = ()
    confirmed_by: str | None = None
    late_seconds: float | None = None
    reported: int | None = None
    trace_id: str | None = None
    more: Mapping[str, Any] | None = None


class Looked(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="kind", tag="looked"):
    """*Looked*: the provider was asked at ``at`` how the call, or the scope, stands, and whether it still waits."""

    termination_id: str
    account: str
    call_id: str
    episode: Count
    at: float
    waiting: bool
    detail: str = ""


LAST_LANE = 9


class Termination(Struct, frozen=True, gc=False, array_like=True):
    """All facts about one termination. Times are seconds since the epoch."""

    termination_id: str
    account: str
    call_id: str
    episode: Count
    orders: tuple[str, ...] = ()
    mode: Mode = Mode.SHADOW
    lane: int = LAST_LANE
    decided_at: float = 0.0
    decided_status: Status | None = None
    attempt: Count = 0
    campaign_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    evidence: tuple[Position, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    results: tuple[Result, ...] = ()
    looks: tuple[Looked, ...] = ()
    scope: Scope | None = None
    ended: Ended | None = None
    final: Result | None = None
    since: float = 0.0

    @property
    def sends(self) -> int:
        """Requests that may have had an effect; unanswered ones count until an answer says otherwise."""
        harmless = {r.request_id for r in self.results if r.answer and not r.answer.may_have_acted}
        return sum(1 for attempt in self.attempts if attempt.request_id not in harmless)

    @property
    def last_answer(self) -> Result | None:
        """The answer to the latest attempt; None while it is unanswered or there was none."""
        if not self.attempts:
            return None
        latest = self.attempts[-1].request_id
        for result in self.results:
            if result.request_id == latest:
                return result
        return None

    @property
    def looked_since(self) -> Looked | None:
        """The latest look after the latest request; None where there was none."""
        since = self.attempts[-1].at if self.attempts else 0.0
        return self.looks[-1] if self.looks and self.looks[-1].at >= since else None

    @property
    def accepted(self) -> bool:
        """Whether the provider ever answered that it did as told."""
        return AnswerClass.ACCEPTED in [result.answer for result in self.results]

    @property
    def state(self) -> State:
        """Derive where it stands from the facts alone."""
        if self.ended:
            asked = self.sends or (self.final is not None and self.final.outcome is State.CONFIRMED)
            if self.ended.status is Status.CANCELLED and asked:
                return State.CONFIRMED
            return State.SHADOW if self._never_meant else State.MISSED
        if self.final and self.final.outcome and not self._reopened:
            return self.final.outcome
        if not self.attempts:
            return State.SHADOW if self.mode is Mode.SHADOW else State.WAITING
        answered = self.last_answer
        if answered is None:
            return State.REQUESTED
        answer = answered.answer
        if answer is AnswerClass.ACCEPTED:
            return State.ACCEPTED
        return State.UNKNOWN if answer and answer.may_have_acted else State.WAITING

    @property
    def _never_meant(self) -> bool:
        return self.mode is Mode.SHADOW and not self.attempts

    @property
    def _reopened(self) -> bool:
        """Whether another order came to want this call after it had been given up for want of an order."""
        final = self.final
        given_up = final is not None and final.outcome in {State.WITHDRAWN, State.EXPIRED}
        return given_up and final is not None and not set(self.orders) <= set(final.orders)

    @property
    def missed_by_seconds(self) -> float | None:
        """How long before the first request the call had left the queue; None where it was not missed or never asked."""
        if self.state is not State.MISSED or not self.ended or not self.attempts:
            return None
        return max(0.0, self.attempts[0].at - self.ended.at)


Record = Decision | Ended | Attempt | Result | Looked


def fold_termination(known: Termination | None, record: Record) -> Termination:
    """Fold one record into a termination; records may come in any order and more than once.

    A request that was written down twice is one. Of several answers to it the earliest stands, of several outcomes the
    latest. Of several ends it is the earliest too, unless the call was cancelled: then it had come back to the queue, and
    nobody told us that in time.
    """
    if known is None and isinstance(record, Decision):
        return _decided(record)
    t = known or Termination(record.termination_id, record.account, record.call_id, record.episode)
    match record:
        case Decision():
            return _fold_decision(t, record)
        case Ended():
            return t if t.ended and _end_order(t.ended) <= _end_order(record) else replace(t, ended=record)
        case Attempt():
            return _fold_attempt(t, record)
        case Result():
            return _fold_result(t, record)
        case Looked():
            return t if record in t.looks else replace(t, looks=tuple(sorted((*t.looks, record), key=_looked_at)))


def _looked_at(look: Looked) -> tuple[float, bool, str]:
    return look.at, look.waiting, look.detail


def _fold_decision(t: Termination, decision: Decision) -> Termination:
    since = decision.since or decision.decided_at
    first = not t.decided_status or (decision.decided_at, decision.status) < (t.decided_at, t.decided_status)
    return replace(
        t,
        orders=_union(t.orders, decision.orders),
        mode=max(t.mode, decision.mode, key=MODES.index),
        lane=min(t.lane, decision.lane),
        decided_at=decision.decided_at if first else t.decided_at,
        decided_status=decision.status if first else t.decided_status,
        since=min(t.since, since) if t.decided_status else since,
        attempt=max(t.attempt, decision.attempt),
        campaign_id=t.campaign_id or decision.campaign_id,
        agent_id=t.agent_id or decision.agent_id,
        number=t.number or decision.number,
        scope=t.scope or decision.scope,
        evidence=_union(t.evidence, decision.evidence, key=attrgetter("topic", "partition", "offset")),
    )


def _decided(decision: Decision) -> Termination:
    """Make a termination of the first that is heard of it; the same as folding the decision into one without facts."""
    return Termination(
        decision.termination_id,
        decision.account,
        decision.call_id,
        decision.episode,
        _union((), decision.orders),
        decision.mode,
        min(LAST_LANE, decision.lane),
        decision.decided_at,
        decision.status,
        decision.attempt,
        decision.campaign_id,
        decision.agent_id,
        decision.number,
        _union((), decision.evidence, key=attrgetter("topic", "partition", "offset")),
        scope=decision.scope,
        since=decision.since or decision.decided_at,
    )


MODES = (Mode.SHADOW, Mode.CANARY, Mode.ENFORCE)


def _fold_attempt(t: Termination, attempt: Attempt) -> Termination:
    if not t.attempts:
        return replace(t, attempts=(attempt,), orders=_union(t.orders, attempt.orders))
    known = next((known for known in t.attempts if known.request_id == attempt.request_id), None)
    if known == attempt:
        return t
    if known:
        attempt = _united(known, attempt)
    attempts = _sorted((*(one for one in t.attempts if one is not known), attempt), _attempt_order)
    return replace(t, attempts=attempts, orders=_union(t.orders, attempt.orders))


def _united(one: Attempt, other: Attempt) -> Attempt:
    """Unite what was written twice of one request: meanwhile its call may have met another order."""
    return replace(
        one,
        n=min(one.n, other.n),
        at=min(one.at, other.at),
        orders=_union(one.orders, other.orders),
        size=max(one.size, other.size),
    )


def _fold_result(t: Termination, result: Result) -> Termination:
    if result.request_id is None:
        return t if t.final and _moment(t.final) >= _moment(result) else replace(t, final=result)
    if not t.results:
        return replace(t, results=(result,))
    known = next((known for known in t.results if known.request_id == result.request_id), None)
    if known and _moment(known) <= _moment(result):
        return t
    return replace(t, results=_sorted((*(r for r in t.results if r is not known), result), _result_order))


_attempt_order = attrgetter("n", "at", "request_id")
_result_order = attrgetter("n", "at", "request_id")


def _sorted(facts: tuple[T, ...], order: Callable[[T], Any]) -> tuple[T, ...]:
    return facts if len(facts) == 1 else tuple(sorted(facts, key=order))


def _end_order(end: Ended) -> tuple[bool, float, str]:
    return (end.status is not Status.CANCELLED, *_moment(end))


def _moment(record: Ended | Result) -> tuple[float, str]:
    """Order records that contradict each other by their time, and at the same time by what they say."""
    return record.at, repr(record)


def _union(left: tuple[T, ...], right: tuple[T, ...], key: Callable[[T], Any] | None = None) -> tuple[T, ...]:
    if left == right or (not left and len(right) == 1):
        return right
    return tuple(sorted({*left, *right}, key=key or str))


COUNTS = (
    "matched",
    "requested",
    "accepted",
    "confirmed",
    "missed",
    "not_found",
    "expired",
    "failed",
    "unconfirmed",
    "withdrawn",
    "shadow",
)


def contribution(t: Termination | None, state: State | None = None) -> tuple[str, ...]:
    """Give which of ``COUNTS`` one termination adds one to, for each of its orders; ``state`` where it is known."""
    if t is None:
        return ()
    return _counted(bool(t.attempts), bool(t.results) and t.accepted, state or t.state)


@cache
def _counted(asked: bool, accepted: bool, state: State) -> tuple[str, ...]:
    said = ("matched", *(("requested",) if asked else ()), *(("accepted",) if accepted else ()))
    return (*said, state.value) if state.over else said
