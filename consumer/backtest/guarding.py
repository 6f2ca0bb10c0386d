"""Guard's part of a backtest: the rules over totals, those that act on several matches, and the limits.

What has changed in a scope is asked about a second of the log's time later, which is how often totals are published, and
at the moments at which the same rules have made orders live.
"""

from collections import deque
from collections.abc import Iterable

from consumer.backtest.counts import Counts
from consumer.backtest.judge import Judge
from consumer.backtest.lives import Lives
from consumer.backtest.matches import Matches
from consumer.guard.ask_matches import MatchRules
from consumer.guard.ask_totals import Asked, Moment, TotalsRules
from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.limits import Limits
from consumer.model.matches import Match
from consumer.model.order_book import OrderBook
from consumer.model.orders import StopOrder
from consumer.model.over import ScopeName
from consumer.model.protected import Protected
from consumer.model.rule_set import RuleSet
from consumer.model.totals import minute_of

PUBLISHED_AFTER_SECONDS = 1.0
NEVER = float("inf")


class Guarding:
    """Asks the rules that guard asks. ``due_at`` is when there is something to ask about, in seconds."""

    def __init__(
        self, rules: RuleSet, limits: Limits, protected: Protected, lives: Lives, moments: Iterable[float] = ()
    ) -> None:
        """Begin; ``moments`` are when orders were made live (seconds)."""
        self._moments = deque(sorted(moments))
        self._totals = TotalsRules(rules)
        self._on_matches = MatchRules(rules)
        self._matches = Matches(self._on_matches.longest_seconds)
        self._counts = Counts(self._totals.kinds, rules.measures, lives.open)
        self._changed: dict[ScopeName, int] = {}
        self.judge = Judge(limits, protected, lives)
        self.counts = bool(self._totals.rules)
        self.due_at = NEVER

    def count(self, event: CallEvent, before: Call | None, after: Call, *, ask: bool) -> None:
        """Count what an event did to its call, and, if ``ask``, note that the rules are to be asked about its scopes."""
        names = self._counts.add(event, before, after)
        if ask and names:
            self._changed.update(dict.fromkeys(names, minute_of(event.logged_at)))
            while self._moments and self._moments[0] < event.logged_at:
                self._moments.popleft()
            due_at = event.logged_at + PUBLISHED_AFTER_SECONDS
            self.due_at = min(self.due_at, due_at, self._moments[0] if self._moments else due_at)

    def ask(self, book: OrderBook) -> Asked:
        """Ask about every scope that has changed."""
        asked = Asked()
        now, changed = self.due_at, self._changed
        self._changed, self.due_at = {}, NEVER
        for scope, minute in changed.items():
            told = self._totals.ask(Moment(scope, minute, now), self._counts, book)
            asked.orders += told.orders
            asked.failures += told.failures
            asked.matches += told.matches
        return asked

    def matched(self, match: Match, book: OrderBook) -> StopOrder | None:
        """Take a match up; gives the order for which it was the last that it took."""
        self._matches.put(match)
        return self._on_matches.ask(match, self._matches, book)
