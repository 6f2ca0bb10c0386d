"""Where a call stands: which attempts its events have told of, in which order of rank, without times.

    rank   0 registered   1 ongoing   2 retry (this attempt is over, the next one waits)   3 final

Some events do not say which attempt they belong to. Of the starts and retries without a number, the k-th distinct one is
attempt k, but a start never reaches beyond the attempt the call waits for: two reports of one start begin no second
attempt. A final status without a number ends the call for good.
"""

from functools import lru_cache

import msgspec

from consumer.model.status import Status

WAITING, BEGUN, RETRY, OVER = 0, 1, 2, 3
RANK = {Status.REGISTERED: WAITING, Status.ONGOING: BEGUN, Status.RETRY: RETRY} | dict.fromkeys(
    (Status.COMPLETED, Status.FAILED, Status.ERROR, Status.CANCELLED), OVER
)
STATUSES = tuple(Status)
TIE = {status: n for n, status in enumerate(STATUSES)}
_ONGOING, _CANCELLED = Status.ONGOING, Status.CANCELLED
"""Finding a member of an enumeration costs more than comparing it."""
UNNUMBERED = -1
STEPS_KNOWN = 4_096


class Standing(msgspec.Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """What the events have said of a call's attempts, without times and figures; ``status`` and ``terminable`` follow.

    Of a million calls a few hundred are different, so what an event does to one is worked out once (``step``).
    ``attempt``, ``rank`` and ``tie`` are those of the greatest event whose attempt is known, ``closed`` is the tie of the
    greatest final one without a number; -1 is none. ``starts`` and ``retries`` count those without a number. ``finished``
    holds the finished attempts, ascending.
    """

    status: Status | None = None
    terminable: bool = False
    attempt: int = -1
    rank: int = -1
    tie: int = -1
    closed: int = -1
    starts: int = 0
    retries: int = 0
    finished: tuple[int, ...] = ()

    @property
    def awaited(self) -> int:
        """The last attempt the call has waited for, as far as events with a known attempt tell."""
        return self.attempt + 1 if self.rank == RETRY else max(0, self.attempt)

    @property
    def attempts_finished(self) -> int:
        """How many attempts have ended, however they ended; a cancelled one never took place."""
        return len(self.finished) + (self.closed_by_an_attempt and self.awaited not in self.finished)

    @property
    def closed_by_an_attempt(self) -> bool:
        """Whether a final status without a number was that of an attempt."""
        return self.closed >= 0 and STATUSES[self.closed] is not _CANCELLED


NOWHERE = Standing()


class Step(msgspec.Struct, frozen=True, gc=False):
    """What an event does: the standing after it, and whether that is another one and waits in another episode.

    ``leads``: the event is the greatest with a known attempt; ``closes``: the greatest final one without. ``told_of`` is
    the attempt whose figures it has, None where it has none.
    """

    standing: Standing
    moves: bool
    waits_anew: bool
    leads: bool
    closes: bool
    told_of: int | None


@lru_cache(maxsize=STEPS_KNOWN)
def step(was: Standing, status: Status, attempt: int | None, newer: int) -> Step:
    """Take one step; ``newer`` is 1, 0 or -1: the event is later than the one it is measured by, of its time, or earlier."""
    rank, tie = RANK[status], TIE[status]
    starts, retries, closed, finished = was.starts, was.retries, was.closed, was.finished
    told_of, closes = attempt, False
    if attempt is None:
        if rank == BEGUN:
            starts += 1
        elif rank == OVER:
            told_of, closes = UNNUMBERED, (newer, tie) > (0, closed)
            closed = tie if closes else closed
        elif rank == RETRY:
            attempt, told_of, retries = retries, UNNUMBERED - 1 - retries, retries + 1
        else:
            attempt = 0
    greatest = (was.attempt, was.rank, was.tie)
    leads = attempt is not None and (attempt, rank, newer, tie) > (was.attempt, was.rank, 0, was.tie)
    if attempt is not None and leads:
        greatest = (attempt, rank, tie)
    ended = rank >= RETRY and status is not _CANCELLED
    if ended and attempt is not None and attempt not in finished:
        finished = tuple(sorted((*finished, attempt)))
    now = stand(*greatest, closed, starts, retries, finished)
    waits_anew = now.terminable and not (was.terminable and now.awaited == was.awaited)
    return Step(now, now != was, waits_anew, leads, closes, told_of if ended else None)


def stand(
    attempt: int, rank: int, tie: int, closed: int, starts: int, retries: int, finished: tuple[int, ...]
) -> Standing:
    """Say which status follows."""
    now = Standing(None, False, attempt, rank, tie, closed, starts, retries, finished)
    if closed >= 0:
        status: Status | None = STATUSES[closed]
    elif starts and rank != OVER and starts > now.awaited:
        status = _ONGOING
    else:
        status = STATUSES[tie] if tie >= 0 else None
    return msgspec.structs.replace(now, status=status, terminable=status is not None and status.terminable)
