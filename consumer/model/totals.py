"""Totals: what happened in a scope, counted from the lives of its calls and not from webhooks, which repeat.

A partition of ``call-events`` counts what its own calls did, per scope and minute of the broker's clock. Each count is the
whole of that minute so far, so a record that is written twice, or replaced by a later one, changes nothing; whoever wants
the sum adds up the latest of every source partition.

Amounts are whole numbers (milliseconds, millionths of the currency), so that every order of adding gives the same sum.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from consumer.model.calls import MILLION, THOUSAND, Call
from consumer.model.events import CallEvent
from consumer.model.standing import BEGUN, NOWHERE, STEPS_KNOWN, TIE, UNNUMBERED, Standing
from consumer.model.status import Status

NAMES = (
    "queued",
    "started",
    "finished",
    "completed",
    "failed",
    "retried",
    "cancelled",
    "connected",
    "seconds",
    "cost",
)
"""Calls first heard of; attempts that began; attempts that ended, and how; calls that connected for the first time."""
QUEUED, STARTED, FINISHED, COMPLETED, FAILED, RETRIED, CANCELLED, CONNECTED, MILLISECONDS, MILLIONTHS = range(10)
HOW: dict[Status | None, int] = {
    Status.COMPLETED: COMPLETED,
    Status.FAILED: FAILED,
    Status.ERROR: FAILED,
    Status.RETRY: RETRIED,
}
CANCELLED_STATUS = Status.CANCELLED
CANCELLED_TIE = TIE[CANCELLED_STATUS]
UNITS = (*(1,) * 8, THOUSAND, MILLION)
MINUTE_SECONDS = 60


def count(tally: list[int], before: Call | None, after: Call, event: CallEvent) -> None:
    """Add to ``tally``, by index, what an event that was no duplicate did; nothing is ever taken away."""
    tally[CONNECTED] += after.connected and not (before and before.connected)
    for index, more in gained(before.progress.standing if before else None, after.progress.standing, event.status):
        tally[index] += more
    for index, more in enumerate(figures_gained(before, after), start=MILLISECONDS):
        tally[index] += more


@lru_cache(maxsize=STEPS_KNOWN)
def gained(was: Standing | None, now: Standing, status: Status | None) -> Sequence[tuple[int, int]]:
    """Give what a call gained, by index, by an event of this status that took it from one standing to another.

    An attempt that is reported finished twice has finished once: what counts is what the call's life gained. A cancelled
    call may turn out never to have begun, which takes nothing back. ``was`` is None where the event is the call's first.
    """
    before = was or NOWHERE
    ended = max(0, now.attempts_finished - before.attempts_finished)
    more = Counter({HOW[status]: ended} if status in HOW else {})
    more[QUEUED] = int(was is None)
    more[STARTED] = max(0, _begun(now) - _begun(before))
    more[FINISHED] = ended
    more[CANCELLED] = int(now.status is CANCELLED_STATUS is not before.status)
    return sorted((+more).items())


def figures_gained(before: Call | None, after: Call) -> tuple[int, int]:
    """Give the milliseconds and the millionths by which an event has made a call longer and dearer."""
    known, figures = before.progress.figures if before else (), after.progress.figures
    if figures is known:
        return 0, 0
    if figures[:-1] == known and figures[0][0] > UNNUMBERED:  # what is new is an attempt
        return figures[-1][1:]
    (milliseconds, millionths), known_amounts = after.amounts, before.amounts if before else (0, 0)
    return milliseconds - known_amounts[0], millionths - known_amounts[1]


def _begun(standing: Standing) -> int:
    """How many attempts have begun, as far as is known; one that was cancelled may not have."""
    attempt = standing.attempt
    told = attempt + 1 if standing.rank >= BEGUN and standing.tie != CANCELLED_TIE else max(0, attempt)
    return told + 1 if standing.starts > told else told


def minute_of(logged_at: float) -> int:
    """The minute (its first second since the epoch) that a broker's time falls in."""
    return int(logged_at) // MINUTE_SECONDS * MINUTE_SECONDS


class Measure(NamedTuple):
    """A number of the event that a rule adds up: its name, and the way to it, such as ``("analysis", "score")``.

    In place of a way there may be a function of the event, which gives the number or None and raises nothing.
    """

    name: str
    path: tuple[str, ...]
    function: Callable[[CallEvent], float | None] | None = None

    def of(self, event: CallEvent) -> int | None:
        """Give the number in millionths; None where the event has none there."""
        value: Any = self.function(event) if self.function else getattr(event, self.path[0], None)
        for part in self.path[1:]:
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e12:
            return None
        return round(value * MILLION)


class ScopeTotals(msgspec.Struct, frozen=True):
    """What one source partition counted for one scope.

    ``kind`` is account, campaign, agent or number, and ``name`` its id (empty for the account). ``minute`` is the first
    second of the minute that ``figures`` and ``sums`` are of; None is no minute: then ``open`` calls wait now. ``offset``
    is the last event counted, by which the later of two records is told.
    """

    account: str
    kind: str
    name: str
    source: int
    offset: int
    minute: int | None = None
    open: int | None = None
    figures: dict[str, float] = {}
    sums: dict[str, float] = {}

    @property
    def scope_key(self) -> bytes:
        """What decides the partition: one scope, one partition."""
        return f"{self.account}/{self.kind}/{self.name}".encode()

    @property
    def key(self) -> bytes:
        return b"%s/%d/%s" % (self.scope_key, self.source, b"open" if self.minute is None else b"%d" % self.minute)


encode_totals = msgspec.json.Encoder().encode
decode_totals = msgspec.json.Decoder(ScopeTotals).decode
"""Read a record of ``scope-totals``; raises ``msgspec.DecodeError`` where it is none."""


def as_figures(amounts: Iterable[int]) -> dict[str, float]:
    """Write amounts, in the order of ``NAMES``, with their names and in their units, without those that are zero."""
    return {
        name: amount if unit == 1 else amount / unit
        for name, amount, unit in zip(NAMES, amounts, UNITS, strict=True)
        if amount
    }


def as_amounts(figures: Mapping[str, float]) -> list[int]:
    """Read what ``as_figures`` wrote."""
    return [round(figures.get(name, 0) * unit) for name, unit in zip(NAMES, UNITS, strict=True)]
