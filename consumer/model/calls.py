"""The fold of a call's events into its life.

Webhooks repeat, overtake each other and come late, so the fold never asks what came last. It keeps the greatest
(attempt, rank, provider time) it has seen, and counts distinct events; both come out the same in every order.

    rank   0 registered   1 ongoing   2 retry (this attempt is over, the next one waits)   3 final

Some events do not say which attempt they belong to. A start without a number is the k-th distinct start seen, hence
attempt k; a retry likewise. A final status without a number ends the call for good.

An episode is one stay in a terminable status. It is numbered by the attempt the call is waiting for, so it too is the
same in every order: ``registered`` waits for attempt 0, ``retry`` after attempt 0 waits for attempt 1.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b

from consumer.model.events import CallEvent
from consumer.model.status import Status

RANK = {
    Status.REGISTERED: 0,
    Status.ONGOING: 1,
    Status.RETRY: 2,
    Status.COMPLETED: 3,
    Status.FAILED: 3,
    Status.ERROR: 3,
    Status.CANCELLED: 3,
}
TIE = {status: n for n, status in enumerate(Status)}
ATTEMPT_UNKNOWN_FINAL = 1 << 30
SEEN_EVENTS = 32
SEEN_BYTES = 8
HISTORY = 64


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of one call.

    ``order`` is the greatest (attempt, rank, provider time, tie) folded so far. ``finished`` has a bit per finished
    attempt. ``seen`` holds the last event ids as 8-byte hashes, ``history`` the offsets of the events in the call's
    partition. ``since`` is the broker's time at which the present episode began; ``decided`` names the stop orders for
    which a termination of this episode has been written.
    """

    account: str
    call_id: str
    provider: str
    status: Status | None = None
    order: tuple[int, int, float, int] = (-1, -1, 0.0, -1)
    starts: int = 0
    retries: int = 0
    finished: int = 0
    connected: bool = False
    campaign_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    from_number: str | None = None
    first_at: float = 0.0
    last_at: float = 0.0
    since: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0
    seen: tuple[bytes, ...] = ()
    history: tuple[int, ...] = ()
    decided: tuple[str, ...] = ()

    @property
    def terminable(self) -> bool:
        """Whether the call still waits to be dialled."""
        return self.status is not None and self.status.terminable

    @property
    def attempt(self) -> int:
        """The highest attempt known, from 0."""
        attempt = self.order[0]
        known = max(self.starts - 1, self.retries - 1, self.finished.bit_length() - 1, 0)
        return known if attempt in {-1, ATTEMPT_UNKNOWN_FINAL} else max(attempt, known)

    @property
    def attempts_finished(self) -> int:
        """How many attempts have ended, however they ended."""
        return self.finished.bit_count()

    @property
    def episode(self) -> int:
        """The attempt the call waits for while it is terminable, else the last one it waited for."""
        attempt, rank = self.order[:2]
        if rank == RANK[Status.RETRY]:
            return attempt + 1
        return attempt if rank == RANK[Status.REGISTERED] else self.attempt

    def with_decided(self, orders: tuple[str, ...]) -> "Call":
        """Note the orders for which a termination of this episode has been written."""
        return replace(self, decided=tuple(dict.fromkeys((*self.decided, *orders))))


def event_hash(event_id: str) -> bytes:
    """Shorten an event id for the call's memory of what it has seen."""
    return blake2b(event_id.encode(), digest_size=SEEN_BYTES).digest()


def fold(call: Call | None, event: CallEvent) -> Call:
    """Fold one event into the call's life; a duplicate gives back the very same object."""
    if call is None:
        call = Call(event.account, event.call_id, event.provider, first_at=event.logged_at)
    seen = event_hash(event.event_id)
    if seen in call.seen:
        return call
    starts, retries, finished = call.starts, call.retries, call.finished
    order = call.order
    status = call.status
    ended: int | None = None
    if event.status is not None:
        attempt, starts, retries = _attempt(event, call)
        candidate = (attempt, RANK[event.status], event.at or 0.0, TIE[event.status])
        if candidate > order:
            order, status = candidate, event.status
        if RANK[event.status] >= RANK[Status.RETRY] and event.status is not Status.CANCELLED:
            ended = attempt if attempt != ATTEMPT_UNKNOWN_FINAL else max(call.attempt, retries)
    newly_ended = ended is not None and not finished >> ended & 1
    if ended is not None:
        finished |= 1 << ended
    folded = replace(
        call,
        status=status,
        order=order,
        starts=starts,
        retries=retries,
        finished=finished,
        connected=call.connected or event.connected,
        campaign_id=call.campaign_id or event.campaign_id,
        agent_id=call.agent_id or event.agent_id,
        number=call.number or event.number,
        from_number=call.from_number or event.from_number,
        last_at=max(call.last_at, event.logged_at),
        seconds=call.seconds + (event.duration_seconds or 0.0 if newly_ended else 0.0),
        cost=call.cost + (event.cost or 0.0 if newly_ended else 0.0),
        seen=(*call.seen, seen)[-SEEN_EVENTS:],
        history=(*call.history, event.position.offset)[-HISTORY:] if event.position else call.history,
    )
    if folded.terminable and (not call.terminable or folded.episode != call.episode):
        return replace(folded, since=event.logged_at, decided=())
    return folded


def _attempt(event: CallEvent, call: Call) -> tuple[int, int, int]:
    """Place an event in an attempt, and count the starts and retries that do not name theirs."""
    if event.attempt is not None:
        return event.attempt, call.starts, call.retries
    if event.status is Status.REGISTERED:
        return 0, call.starts, call.retries
    if event.status is Status.ONGOING:
        return call.starts, call.starts + 1, call.retries
    if event.status is Status.RETRY:
        return call.retries, call.starts, call.retries + 1
    return ATTEMPT_UNKNOWN_FINAL, call.starts, call.retries
