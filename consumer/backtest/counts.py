"""Totals of whole scopes in memory: what correlators count and guard adds up, for events that come in order of time.

Of each scope there is one running count, and what it was when each minute began: what happened within a window is the
difference of two of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

from consumer.guard.sums import WindowTotals
from consumer.model.calls import MILLION, Call
from consumer.model.events import CallEvent
from consumer.model.over import HEARD_OF, ScopeName
from consumer.model.totals import NAMES, Measure, as_figures, count, minute_of

NOTHING = (0,) * len(NAMES)
Open = Callable[[ScopeName], int]
"""Gives how many calls of a scope wait now."""


class _Scope:
    """One scope: ``running`` has the figures and, behind them, the measures; ``before`` what they were at each minute."""

    __slots__ = ("before", "heard_of", "minutes", "running")

    def __init__(self, measures: int) -> None:
        self.running = [0] * (len(NAMES) + measures)
        self.minutes: list[int] = []
        self.before: list[tuple[int, ...]] = []
        self.heard_of: dict[str, int] = {}

    def begin(self, minute: int) -> None:
        if not self.minutes or self.minutes[-1] < minute:
            self.minutes.append(minute)
            self.before.append(tuple(self.running))

    def within(self, first: int, last: int) -> list[int]:
        low = self._at(bisect_left(self.minutes, first))
        return [after - before for after, before in zip(self._at(bisect_right(self.minutes, last)), low, strict=True)]

    def _at(self, n: int) -> Sequence[int]:
        return self.before[n] if n < len(self.before) else self.running


class Counts:
    """Counts for the kinds of scopes that rules ask about. It is a ``SumsOver``."""

    def __init__(self, kinds: Iterable[str], measures: Sequence[Measure], open_calls: Open) -> None:
        self.kinds = frozenset(kinds)
        self._measures = tuple(measures)
        self._open = open_calls
        self._scopes: dict[ScopeName, _Scope] = {}

    def add(self, event: CallEvent, before: Call | None, after: Call) -> list[ScopeName]:
        """Count what an event that was no duplicate did to its call; gives the scopes that it counts in."""
        minute = minute_of(event.logged_at)
        measured = [measure.of(event) for measure in self._measures]
        names = self._names(after)
        for name in names:
            scope = self._scopes.get(name)
            if scope is None:
                scope = self._scopes[name] = _Scope(len(self._measures))
            scope.begin(minute)
            count(scope.running, before, after, event)
            for n, value in enumerate(measured, start=len(NAMES)):
                if value is not None:
                    scope.running[n] += value
            if name[1] == "account":
                for kind in HEARD_OF:
                    of_kind = getattr(after, f"{kind}_id")
                    if of_kind:
                        scope.heard_of[f"{kind}/{of_kind}"] = minute
        return names

    def within(self, scope: str, first_minute: int, last_minute: int) -> WindowTotals:
        """Add up ``account/kind/name`` from one minute to another (their first seconds), both included."""
        account, kind, name = scope.split("/", 2)
        named = (account, kind, name)
        known = self._scopes.get(named)
        if known is None:
            return WindowTotals({}, {}, self._open(named))
        told = known.within(first_minute, last_minute)
        sums = {one.name: told[n] / MILLION for n, one in enumerate(self._measures, start=len(NAMES)) if told[n]}
        sums |= {heard: 1.0 for heard, latest in known.heard_of.items() if latest >= first_minute}
        return WindowTotals(as_figures(told[: len(NAMES)]), sums, self._open(named))

    def _names(self, call: Call) -> list[ScopeName]:
        account = call.account
        told = (("campaign", call.campaign_id), ("agent", call.agent_id), ("number", call.number))
        names = [(account, kind, name) for kind, name in told if name and kind in self.kinds]
        return [(account, "account", ""), *names] if "account" in self.kinds else names
