"""A backtest's course through the events: what a correlator and a guard would have done, in memory and in one go.

Each event goes the way that it goes live: the fold, the rules, the join with the orders, in this order. Time is the
broker's: an order comes into force at the moment it is made, unless the log has recorded when it did.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from consumer.backtest.guarding import NEVER, Guarding
from consumer.backtest.judge import waits
from consumer.backtest.lives import Lives
from consumer.backtest.orders import Orders
from consumer.backtest.reading import Place, reader_for
from consumer.backtest.recorded import Change, Recorded
from consumer.backtest.tally import Tally, label_of
from consumer.correlate.ask_rules import Asked, Rules
from consumer.correlate.decide import decision, orders_for, scope_decisions
from consumer.model.calls import Call, carried_on, fold
from consumer.model.controls import RuleMode
from consumer.model.events import CallEvent, Position
from consumer.model.limits import NO_LIMITS, Limits
from consumer.model.matches import Match
from consumer.model.orders import OrderRecord, StopOrder
from consumer.model.protected import Protected
from consumer.model.rule_set import RuleSet
from consumer.model.terminations import Decision

HOUR_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What stands beside the rules. ``start`` is when they begin to be asked; all times are in seconds."""

    protected: Protected = field(default_factory=Protected)
    forget_seconds: float = 72 * HOUR_SECONDS
    limits: Limits = NO_LIMITS
    decision_ttl: Mapping[str, float] = field(default_factory=dict)
    start: float = float("-inf")


Made = StopOrder | Decision
Witness = Callable[[Made], None]
"""Is told of every order and decision of the rules under test, as they would have been written."""


def nobody(_: Made) -> None:
    """Tell nobody."""


class Course:
    """Takes events and calls in the order of the broker's time."""

    def __init__(
        self,
        rules: RuleSet,
        setting: Setting,
        tally: Tally,
        *,
        recorded: Recorded | None = None,
        witness: Witness = nobody,
    ) -> None:
        rules = RuleSet.of(replace(rule, budget_seconds=NEVER) for rule in rules)  # a busy machine decides nothing here
        self.read = reader_for(rules)
        self._rules = Rules(rules.on_events)
        self._setting = setting
        self._start = setting.start
        self._tally = tally
        self._tested = frozenset(tally.rules)
        self._witness = witness
        self._recorded = recorded or Recorded()
        self._to_come: list[tuple[float, int, Change]] = [
            (change.at, n, change) for n, change in enumerate(self._recorded.changes)
        ]
        self._numbered = len(self._to_come)
        self._orders = Orders(setting.decision_ttl)
        self.lives = Lives(setting.forget_seconds)
        moments = [written.order.at for written in self._recorded.own.values()]
        self._guard = Guarding(rules, setting.limits, setting.protected, self.lives, moments)
        self.events = self.duplicates = self.warmed_up = 0

    @property
    def taken(self) -> int:
        """How many events have gone by."""
        return self.events + self.warmed_up + self.duplicates

    def take(self, event: CallEvent, place: Place | None = None) -> None:
        """Fold an event, ask the rules, and join its call with the orders.

        ``place`` is where it was read, for an event that does not say so itself: only few have to.
        """
        now = event.logged_at
        if self._guard.due_at <= now:
            self._ask_about_totals()
        if self._to_come and self._to_come[0][0] < now:
            self._advance(now)
        begun = now >= self._start
        wanting = self._rules.wanting(event) if begun else ()
        if not wanting and not self._guard.counts:
            self._note(event, place, begun=begun)
            return
        before = self.lives.met(event.name, now)
        after = fold(before, event)
        if after is before:
            self.duplicates += 1
            return
        self.events += begun
        self.warmed_up += not begun
        if self._guard.counts:
            self._guard.count(event, before, after, ask=begun)
        if place is not None:
            event = event.replaced(position=Position(*place))
        orders = self._said(self._rules.judge_by(wanting, event, after, self._orders)) if wanting else ()
        if self._orders.any:
            after = self._join(after, event.position, now)
        self.lives.put(after, before)
        for order in orders:
            self._propose(order, now)

    def _note(self, event: CallEvent, place: Place | None, *, begun: bool) -> None:
        """Take an event that no rule has anything to ask about; only an order may."""
        life = self.lives.note(event)
        if life is None:
            self.duplicates += 1
            return
        self.events += begun
        self.warmed_up += not begun
        if self._orders.any and self._orders.may_cover(life):
            call = self.lives.settle(life)
            joined = self._join(call, event.position if place is None else Position(*place), event.logged_at)
            if joined is not call:
                self.lives.put(joined, call)

    def take_carried(self, call: Call, position: Position | None, logged_at: float) -> None:
        """Take a call that was written as a whole."""
        if self._to_come and self._to_come[0][0] < logged_at:
            self._advance(logged_at)
        before = self.lives.get(call.name)
        after = self._join(carried_on(before, call, logged_at), position, logged_at)
        self.lives.put(after, before)

    def tidy(self, log_time: float) -> None:
        """Let go of the calls that are over for long; to be called now and then."""
        for call in self.lives.forget(log_time, self._tally.stopped.__contains__):
            self._tally.ended(call)

    def finish(self, until: float | None = None) -> None:
        """Let come what was recorded after the last event and before ``until``, and count what became of the calls."""
        if self._guard.due_at < NEVER:
            self._ask_about_totals()
        self._advance(float("inf") if until is None else until)
        for name in list(self._tally.stopped):
            if (call := self.lives.get(name)) is not None:
                self._tally.ended(call)

    def _advance(self, until: float) -> None:
        """Let the orders and facts come that were recorded before ``until``."""
        while self._to_come and self._to_come[0][0] < until:
            at, _, change = heapq.heappop(self._to_come)
            if isinstance(change, StopOrder):
                self._meet(self._orders.put(change), at)
            elif isinstance(change, RuleMode):
                self._orders.set_mode(change)
            elif isinstance(change, Match):
                self._take_signal(change)
            elif (record := self._orders.put_fact(change)) is not None:
                self._meet(record, at)

    def _take_signal(self, signal: Match) -> None:
        """Ask the rule that a signal is for; one that came before the start only counts."""
        for order in self._ask_about_matches([signal]):
            if signal.at >= self._start:
                self._propose(order, signal.at)

    def _said(self, asked: Asked) -> Sequence[StopOrder]:
        """Give the orders that follow from what the rules said of an event."""
        for failure in asked.failures:
            self._tally.failed(failure.rule, failure.error)
        return [*asked.orders, *self._ask_about_matches(asked.matches)] if asked.matches else asked.orders

    def _ask_about_totals(self) -> None:
        now = self._guard.due_at
        self._advance(now)
        asked = self._guard.ask(self._orders)
        for failure in asked.failures:
            self._tally.failed(failure.rule, failure.error)
        for order in (*asked.orders, *self._ask_about_matches(asked.matches)):
            self._propose(order, now)

    def _ask_about_matches(self, matches: Iterable[Match]) -> list[StopOrder]:
        found = [self._guard.matched(match, self._orders) for match in matches]
        return [order for order in found if order is not None]

    def _propose(self, order: StopOrder, now: float) -> None:
        """Give an order of a rule: it comes into force when it did, if it was made live too, else as guard would say."""
        self._made(order, [order])
        written = self._recorded.own.get(order.order_id)
        if written is not None:
            self._orders.put(written.order)
            for fact in written.facts:
                self._numbered += 1
                heapq.heappush(self._to_come, (fact.at, self._numbered, fact))
            self._tally.ordered(order, now, waits=any(waits(fact) for fact in written.facts))
            return
        fact = self._guard.judge.answer(order, now)
        self._tally.ordered(order, now, waits=waits(fact))
        self._meet(self._orders.put(replace(order, at=now), [fact]), now)

    def _meet(self, record: OrderRecord, now: float) -> None:
        """Look at the waiting calls of an order that has changed."""
        if not record.in_force(now):
            return
        for whole in scope_decisions(record, now):
            self._made(whole, [record.order])
        for call in self.lives.waiting(record.order.account, record.order.scope):
            decided = self._join(call, None, now, bulk=record.order.scope.is_broad)
            if decided is not call:
                self.lives.put(decided, call)

    def _join(self, call: Call, position: Position | None, now: float, *, bulk: bool = False) -> Call:
        """Decide to stop a call where orders want it, unless that was decided with all of them for this episode."""
        wanted = orders_for(call, self._orders, self._setting.protected, now)
        new = [record.order for record in wanted if record.order.order_id not in call.decided]
        if not new:
            return call
        made = decision(call, wanted, position, now, bulk=bulk)
        if now >= self._setting.start:
            self._tally.decided(call, new, now)
            self._made(made, [record.order for record in wanted])
        return call.with_decided(made.orders)

    def _made(self, made: Made, orders: Iterable[StopOrder]) -> None:
        if not self._tested.isdisjoint(label_of(order.by) for order in orders):
            self._witness(made)
