"""The fold of a call's events into its life.

Webhooks repeat, overtake each other and come late, so the fold never asks what came last. It keeps what comes out the
same in every order: the greatest (attempt, rank, provider time), counts of distinct events, and the greatest figure per
attempt. Status, attempt, episode, attempts finished, connected, seconds and cost follow from these alone. What needs no times
of it is a ``Standing``.

An episode is one stay in a terminable status, numbered by the attempt the call waits for: ``registered`` waits for
attempt 0, ``retry`` after attempt 0 for attempt 1.

Every order of the same events gives the same life, within these bounds:

* a duplicate is recognised among the last ``SEEN_EVENTS`` distinct events of its call (senders give up within minutes);
* a start whose webhook is lost cannot be told from one that is late: until the attempt ends, the call counts as waiting;
* two final statuses of one attempt contradict each other: the one with the later provider time stands, else the later
  one in the order of ``Status``;
* ids and numbers are those of the first event that has them, since no provider changes them during a call;
* a look into the provider's call history (source ``history``) tells how the call stands, not which attempt it is in. It
  is taken relative to what is known, and says nothing once a webhook has come that is later than the look.
"""

import struct
from binascii import unhexlify
from functools import lru_cache
from hashlib import blake2b
from sys import intern

import msgspec

from consumer.model.events import CallEvent
from consumer.model.identity import BODY, call_name
from consumer.model.standing import BEGUN, NOWHERE, OVER, RANK, RETRY, UNNUMBERED, Standing, stand, step
from consumer.model.status import Status

SEEN_EVENTS = 32
HISTORY_SOURCE = "history"
NEWS = frozenset(
    {
        *((status, rank) for status in (Status.REGISTERED, Status.RETRY) for rank in (BEGUN, OVER)),
        *((Status.ONGOING, rank) for rank in (RETRY, OVER)),
        (Status.REGISTERED, RETRY),
    }
)
"""Where a look into the history says more than is known: (status known, rank seen)."""
SEEN_BYTES = 8
_LEAST_BODY = len(BODY) + 2 * SEEN_BYTES
_OF_BODY = slice(len(BODY), _LEAST_BODY)
MOST_SEEN_BYTES = SEEN_EVENTS * SEEN_BYTES
HISTORY = 64
OFFSET_BYTES = 8
MOST_PLACES_BYTES = HISTORY * OFFSET_BYTES
SHARED_ORDERS = 1_000
THOUSAND, MILLION = 1_000, 1_000_000
MOST = 1e9
"""Of seconds and of the currency, told of one attempt."""
_LAST_SEEN, _LAST_PLACES = slice(-MOST_SEEN_BYTES, None), slice(-MOST_PLACES_BYTES, None)
"""Made once: at every event, making them would take longer than cutting with them."""
_offset = struct.Struct(">Q").pack

Figures = tuple[tuple[int, int, int], ...]
"""Attempt, milliseconds and millionths of the currency: whole numbers, so that every order of adding gives the same sum."""


class Progress(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a call stands, since when, and what its attempts came to.

    ``at`` and ``closed_at`` are the provider's times of the two events that ``standing`` follows from. ``figures`` ascend by
    attempt, where ``UNNUMBERED`` is a final status without a number, and what is below are the retries without one.
    """

    standing: Standing = NOWHERE
    at: float = 0.0
    closed_at: float = 0.0
    figures: Figures = ()


NOTHING_YET = Progress()


class Call(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of one call. A struct, since thousands a second are made, written and read.

    ``seen`` holds the last event ids, one 8-byte hash after the other, ``places`` the offsets of the
    events in the call's partition, 8 bytes each: what bytes hold, the collector of garbage need not walk through.
    ``since`` is the broker's time at which the present episode began; ``decided`` names the stop orders for which a
    termination of this episode has been written. ``carried_at`` is when the call was last written anew to the log, 0.0 for
    never.
    """

    account: str
    call_id: str
    provider: str
    progress: Progress = NOTHING_YET
    connected: bool = False
    campaign_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    from_number: str | None = None
    first_at: float = 0.0
    last_at: float = 0.0
    since: float = 0.0
    seen: bytes = b""
    places: bytes = b""
    decided: tuple[str, ...] = ()
    carried_at: float = 0.0

    @property
    def name(self) -> str:
        """Account and call id in one text, which no other call has."""
        return call_name(self.account, self.call_id)

    @property
    def history(self) -> tuple[int, ...]:
        """The offsets of the events in the call's partition, the last ``HISTORY`` of them."""
        return struct.unpack(f">{len(self.places) // OFFSET_BYTES}Q", self.places)

    @property
    def kept_at(self) -> float:
        """The broker's time since which the log holds all that is needed to know the call."""
        return self.carried_at or self.first_at

    @property
    def status(self) -> Status | None:
        """Where the call stands; None while no event has said."""
        return self.progress.standing.status

    @property
    def terminable(self) -> bool:
        """Whether the call still waits to be dialled."""
        return self.progress.standing.terminable

    @property
    def episode(self) -> int:
        """The attempt the call waits for while it is terminable, else the last one it waited for."""
        return self.progress.standing.awaited

    @property
    def attempt(self) -> int:
        """The highest attempt that is known to have begun or to be registered, from 0."""
        standing = self.progress.standing
        awaited = standing.awaited
        begun = standing.rank != RETRY or standing.starts > awaited or standing.closed_by_an_attempt
        return awaited if begun else awaited - 1

    @property
    def attempts_finished(self) -> int:
        """How many attempts have ended, however they ended; a cancelled one never took place."""
        return self.progress.standing.attempts_finished

    @property
    def seconds(self) -> float:
        """How long all attempts together took, as reported."""
        return self.amounts[0] / THOUSAND

    @property
    def cost(self) -> float:
        """What all attempts together cost, in the provider's currency."""
        return self.amounts[1] / MILLION

    @property
    def amounts(self) -> tuple[int, int]:
        """Milliseconds and millionths of all attempts; one that was reported with its number and without it counts once."""
        figures = self.progress.figures
        if not figures:
            return 0, 0
        if figures[0][0] > UNNUMBERED:
            _, milliseconds, millionths = map(sum, zip(*figures, strict=True))
            return milliseconds, millionths
        return self._amount(1), self._amount(2)

    def _amount(self, column: int) -> int:
        last = self.episode
        told = [(figure[0], figure[column]) for figure in self.progress.figures]
        numbered = sum(value for attempt, value in told if UNNUMBERED < attempt != last)
        unnumbered = sum(value for attempt, value in told if attempt < UNNUMBERED)
        return max(numbered, unnumbered) + max(
            (value for attempt, value in told if attempt in {UNNUMBERED, last}), default=0
        )

    def with_decided(self, orders: tuple[str, ...]) -> "Call":
        """Note the orders for which a termination of this episode has been written."""
        return msgspec.structs.replace(self, decided=orders_together(self.decided, orders))


@lru_cache(maxsize=SHARED_ORDERS)
def orders_together(earlier: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    """Give the ids of orders in one tuple, each once: the same one for all the calls that an order stops."""
    return tuple(dict.fromkeys((*earlier, *later)))


def event_hash(event_id: str) -> bytes:
    """Shorten an event id for the call's memory of what it has seen; the id of a body is a hash already."""
    if event_id.startswith(BODY) and len(event_id) >= _LEAST_BODY:
        try:
            return unhexlify(event_id[_OF_BODY])
        except ValueError:
            pass  # somebody else's id
    return blake2b(event_id.encode(), digest_size=SEEN_BYTES).digest()


def fold(call: Call | None, event: CallEvent) -> Call:
    """Fold one event into the call's life; a duplicate gives back the very same object."""
    return fold_logged(call, event, event.logged_at, event.offset)


def fold_logged(call: Call | None, event: CallEvent, logged_at: float, offset: int | None) -> Call:
    """Fold as ``fold`` an event whose time (seconds) and place in the log are at hand already."""
    seen = event_hash(event.event_id)
    if call is None:
        call = Call(intern(event.account), event.call_id, intern(event.provider), first_at=logged_at)
    elif call.seen.partition(seen)[1]:  # ``find`` takes twice as long, and ``in`` thrice
        return call
    if event.source == HISTORY_SOURCE:
        event = _placed(call, event)
    was, since, decided = call.progress, call.since, call.decided
    progress = was
    if event.status is not None:
        progress, waits_anew = _advanced(was, event, event.status)
        if waits_anew:
            since, decided = logged_at, ()
    return Call(
        call.account,
        call.call_id,
        call.provider,
        progress,
        call.connected or event.connected,
        call.campaign_id or (event.campaign_id and intern(event.campaign_id)),  # many calls have these in common
        call.agent_id or (event.agent_id and intern(event.agent_id)),
        call.number or event.number,
        call.from_number or (event.from_number and intern(event.from_number)),
        call.first_at,
        logged_at if logged_at > call.last_at else call.last_at,  # noqa: FURB136 -- at every event; ``max`` takes thrice as long
        since,
        (call.seen + seen)[_LAST_SEEN],
        call.places if offset is None else (call.places + _offset(offset))[_LAST_PLACES],
        decided,
        call.carried_at,
    )


def carried_on(known: Call | None, written: Call, logged_at: float) -> Call:
    """Fold a call that was written anew as a whole, so that the log still knows it once its first events have left.

    Whoever knows the call from its beginning learns only that it was written; who does not takes over what went before.
    Written at the same moment as another event, it may be behind what is known: then it does not count as written.
    """
    if known is None:
        return msgspec.structs.replace(written, carried_at=logged_at)
    if known.first_at <= written.first_at:
        counts = known.progress == written.progress
        return msgspec.structs.replace(known, carried_at=logged_at) if counts else known
    seen = _chained(written.seen, known.seen, SEEN_BYTES)
    # What was written has all that is known in it, unless another event came between: then neither has the other's.
    progress = written.progress if seen == written.seen else _united(known.progress, written.progress)
    same_episode = known.terminable and written.terminable and progress.standing.awaited == written.episode
    return msgspec.structs.replace(
        known,
        progress=progress,
        connected=known.connected or written.connected,
        campaign_id=written.campaign_id or known.campaign_id,
        agent_id=written.agent_id or known.agent_id,
        number=written.number or known.number,
        from_number=written.from_number or known.from_number,
        first_at=written.first_at,
        last_at=max(known.last_at, written.last_at),
        since=min(known.since, written.since) if same_episode else known.since,
        seen=seen[_LAST_SEEN],
        places=_chained(written.places, known.places, OFFSET_BYTES)[_LAST_PLACES],
        decided=orders_together(written.decided, known.decided) if same_episode else known.decided,
        carried_at=logged_at,
    )


def _chained(earlier: bytes, later: bytes, size: int) -> bytes:
    """Put lists of so many bytes an entry behind each other, without what is in both."""
    entries = [told[n : n + size] for told in (earlier, later) for n in range(0, len(told), size)]
    return b"".join(dict.fromkeys(entries))


def _united(one: Progress, other: Progress) -> Progress:
    """Unite what two lots of events of one call have said; of what both have said, the greater stands."""
    first, second = one.standing, other.standing
    attempt, rank, at, tie = max(
        (first.attempt, first.rank, one.at, first.tie), (second.attempt, second.rank, other.at, second.tie)
    )
    closed_at, closed = max((one.closed_at, first.closed), (other.closed_at, second.closed))
    starts, retries = max(first.starts, second.starts), max(first.retries, second.retries)
    finished = tuple(sorted({*first.finished, *second.finished}))
    figures = one.figures
    for figure in other.figures:
        figures = _greatest(figures, figure)
    return Progress(stand(attempt, rank, tie, closed, starts, retries, finished), at, closed_at, figures)


def _placed(call: Call, event: CallEvent) -> CallEvent:
    """Give a look into the history the attempt it must be about, or no status where it is no news."""
    attempt: int | None = None
    if event.at is not None and call.last_at <= event.at and event.status is not None:
        rank = RANK[event.status]
        if call.status is None:
            attempt = 0
        elif (call.status, rank) in NEWS:
            attempt = call.episode
    return event.replaced(attempt=attempt, status=event.status if attempt is not None else None)


def _advanced(progress: Progress, event: CallEvent, status: Status) -> tuple[Progress, bool]:
    """Put what the event says of its attempt beside what is known of the others; no news give back the same object.

    Says as well whether the call waits in another episode from here on.
    """
    moment, attempt = event.at or 0.0, event.attempt
    at, closed_at, figures = progress.at, progress.closed_at, progress.figures
    known_at = closed_at if attempt is None and RANK[status] == OVER else at
    newer = 1 if moment > known_at else 0 if moment == known_at else -1
    done = step(progress.standing, status, attempt, newer)
    if done.told_of is not None and (event.duration_seconds or event.cost):
        milliseconds, millionths = _whole(event.duration_seconds, THOUSAND), _whole(event.cost, MILLION)
        figures = _greatest(figures, (done.told_of, milliseconds, millionths))
    if not (done.moves or done.leads or done.closes) and figures is progress.figures:
        return progress, False
    known = Progress(done.standing, moment if done.leads else at, moment if done.closes else closed_at, figures)
    return known, done.waits_anew


def _whole(amount: float | None, parts: int) -> int:
    """Count an amount in so many parts; what is beyond all sense neither takes anything back nor outgrows a row."""
    if amount is None or amount <= 0:
        return 0
    return round(amount * parts) if amount <= MOST else round(MOST * parts)


def _greatest(figures: Figures, new: tuple[int, int, int]) -> Figures:
    """Keep the greatest figures reported of each attempt; several events may tell of one."""
    attempt, milliseconds, millionths = new
    for n, (told_of, known_milliseconds, known_millionths) in enumerate(figures):
        if told_of == attempt:
            if milliseconds <= known_milliseconds and millionths <= known_millionths:
                return figures
            greatest = attempt, max(known_milliseconds, milliseconds), max(known_millionths, millionths)
            return (*figures[:n], greatest, *figures[n + 1 :])
    return tuple(sorted((*figures, new))) if figures else (new,)
