"""What each rule of a backtest would have done, counted while the events go by."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consumer.backtest.outcome import Ending, after
from consumer.model.calls import Call
from consumer.model.orders import Author, Mode, StopOrder, effective_mode

OPERATORS = "operators"
"""In place of a rule's name: orders that people gave."""


@dataclass(slots=True)
class RuleTally:
    """One rule's figures. ``attempts``, ``seconds`` and ``cost`` are what it would have saved; times are in seconds."""

    orders: int = 0
    held: int = 0
    failures: int = 0
    first_failure: str | None = None
    first_at: float | None = None
    last_at: float | None = None
    orders_by_day: Counter[str] = field(default_factory=Counter)
    stopped_by_day: Counter[str] = field(default_factory=Counter)
    stopped: int = 0
    in_canary: int = 0
    endings: Counter[Ending] = field(default_factory=Counter)
    saved_calls: int = 0
    saved_attempts: int = 0
    saved_seconds: float = 0.0
    saved_cost: float = 0.0
    overlap: Counter[str] = field(default_factory=Counter)


class Tally:
    """The figures of the rules under test. Calls that would have been stopped are remembered as they stood then."""

    def __init__(self, tested: Iterable[str]) -> None:
        self.rules = {name: RuleTally() for name in tested}
        self._stopped: dict[str, dict[str, Call]] = {}

    @property
    def stopped(self) -> Collection[str]:
        """The calls that would have been stopped and of which more may be heard."""
        return self._stopped.keys()

    def ordered(self, order: StopOrder, at: float, *, waits: bool) -> None:
        """Count an order that a rule made; ``waits`` where it waits for approval, or would."""
        rule = self.rules.get(order.by.name)
        if rule is None:
            return
        rule.orders += 1
        rule.held += waits
        rule.first_at = at if rule.first_at is None else min(rule.first_at, at)
        rule.last_at = at if rule.last_at is None else max(rule.last_at, at)
        rule.orders_by_day[_day(at)] += 1

    def failed(self, name: str, error: str) -> None:
        """Count that a rule raised."""
        rule = self.rules.get(name)
        if rule is not None:
            rule.failures += 1
            rule.first_failure = rule.first_failure or error

    def decided(self, call: Call, orders: Iterable[StopOrder], at: float) -> None:
        """Count a call that orders want stopped; ``call`` is how it stands at that moment."""
        for order in orders:
            label = label_of(order.by)
            rule = self.rules.get(label)
            if rule is None and effective_mode(order, call.call_id, call.campaign_id) is Mode.SHADOW:
                continue
            stops = self._stopped.setdefault(call.name, {})
            if label in stops:
                continue
            stops[label] = call
            if rule is not None:
                rule.stopped += 1
                rule.stopped_by_day[_day(at)] += 1
                rule.in_canary += effective_mode(order, call.call_id, call.campaign_id) is Mode.ENFORCE

    def ended(self, call: Call) -> None:
        """Count what became of a call of which nothing more will be heard."""
        stops = self._stopped.pop(call.name, None)
        if stops is None:
            return
        for label, then in stops.items():
            rule = self.rules.get(label)
            if rule is not None:
                self._settle(rule, then, call)
                rule.overlap.update(other for other in stops if other != label)

    @staticmethod
    def _settle(rule: RuleTally, then: Call, at_last: Call) -> None:
        came = after(then, at_last)
        rule.endings[came.ending] += 1
        rule.saved_calls += came.attempts > 0
        rule.saved_attempts += came.attempts
        rule.saved_seconds += came.seconds
        rule.saved_cost += came.cost


def label_of(author: Author) -> str:
    """Name who stops: a rule by its name, people by one word."""
    return OPERATORS if author.is_operator else author.name


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
