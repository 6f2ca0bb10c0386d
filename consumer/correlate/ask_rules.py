"""Asking the rules about an event, and turning their wishes into stop orders.

An order's id comes from the rule, the scope and the event, so an event that is folded twice gives the same order. A rule
whose order for the same scope already stands is not asked to repeat itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.model.calls import Call
from consumer.model.controls import Alert, as_strong, in_mode_of_now
from consumer.model.events import CallEvent
from consumer.model.explained import shown_all
from consumer.model.matches import Match
from consumer.model.order_book import OrderBook
from consumer.model.orders import Mode, StopOrder
from consumer.model.patience import Patience
from consumer.model.proposals import CAMPAIGN, proposal
from consumer.model.rules import EventRule, Rule, Stop
from consumer.model.scopes import Scope, ScopeError
from consumer.model.status import EventType, Status
from consumer.model.stops import RuleError
from consumer.model.throttles import may_order, once_per_slot, orders_of

Wants = Callable[[CallEvent], bool]
ON_ITS_WAY = 1_000
ON_ITS_WAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """A rule that raised, on which event: recorded and counted, stops nothing."""

    rule: str
    version: str
    error: str
    event: CallEvent


@dataclass(slots=True)
class Asked:
    """What rules said of an event: orders that do not stand yet, failures, and what guard has to count first."""

    orders: list[StopOrder] = field(default_factory=list)
    failures: list[RuleFailure] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)


NOTHING = Asked()
NO_RULES: Sequence[EventRule] = ()


class Rules:
    """The rules in force, by the event types they want to see."""

    looking_at: Mapping[EventType, Mapping[Status | None, Sequence[tuple[EventRule, Wants | None]]]]
    """Which rules may have something to look at in an event, going by its type and status alone; asked at every event."""

    def __init__(self, rules: Iterable[Rule], *, node: str = "") -> None:
        """Prepare to ask those of ``rules`` that are about events; ``node`` names this process in its alerts."""
        self.rules = tuple(rule for rule in rules if isinstance(rule, EventRule))
        self._patience = Patience(node)
        self._sort()
        self._on_its_way: dict[tuple[str, str, Scope], tuple[StopOrder, CallEvent]] = {}

    def ask(self, event: CallEvent, call: Call, book: OrderBook) -> tuple[list[StopOrder], list[RuleFailure]]:
        """Ask as ``judge`` does, of rules that wait for no further matches."""
        asked = self.judge(event, call, book)
        return list(asked.orders), list(asked.failures)

    def judge(self, event: CallEvent, call: Call, book: OrderBook) -> Asked:
        """Ask every rule that wants this event."""
        wanting = self.wanting(event)
        return self.judge_by(wanting, event, call, book) if wanting else NOTHING

    def wanting(self, event: CallEvent) -> Sequence[EventRule]:
        """Give the rules that have something to look at in an event; most events have it for none."""
        looked = self.looking_at[event.type][event.status]
        return [rule for rule, wants in looked if wants is None or wants(event)] if looked else NO_RULES

    def judge_by(self, wanting: Iterable[EventRule], event: CallEvent, call: Call, book: OrderBook) -> Asked:
        """Ask these rules, which are those that want the event."""
        asked = Asked()
        doubtful = event.status is Status.CANCELLED and bool(call.decided)
        for rule in wanting:
            if not (doubtful and _is_own_doing(rule, call, book)):
                self._ask_one(rule, event, call, book, asked)
        return asked

    def alerts(self, known: Mapping[str, Alert], now: float) -> list[Alert]:
        """What is to be said, or taken back, of rules that take too long; ``known`` are the active alerts."""
        return self._patience.alerts(known, now)

    def _sort(self) -> None:
        asked = [rule for rule in self.rules if rule.name not in self._patience.given_up]
        looked = [(rule, None if _counts_all(rule) else rule.wants) for rule in asked]
        self.looking_at = {
            kind: {status: [one for one in looked if _may_want(one[0], kind, status)] for status in (None, *Status)}
            for kind in EventType
        }

    def _ask_one(self, rule: EventRule, event: CallEvent, call: Call, book: OrderBook, asked: Asked) -> None:
        error: str | None = None
        try:
            stop = self._patience.ask(rule, rule.evaluate, event, call)
            if stop is not None and not isinstance(stop, Stop):
                raise TypeError(f"the rule gave {type(stop).__name__}, not Stop or None")
        # People's code: whatever it raises stops nothing and is recorded; sys.exit() would end us at every start.
        except (Exception, SystemExit) as raised:  # noqa: BLE001
            error = f"{type(raised).__name__}: {raised}"[:500]
            asked.failures.append(RuleFailure(rule.name, rule.version, error, event))
            stop = _to_be_approved(rule, call)
        if rule.name in self._patience.given_up:
            asked.failures.append(RuleFailure(rule.name, rule.version, self._patience.given_up[rule.name], event))
            self._sort()
        if stop is not None:
            self._want(_Wish(rule, stop, event, call, error), book, asked)
        elif error is None and _counts_all(rule):
            _note_miss(rule, event, call, asked)

    def _want(self, wish: "_Wish", book: OrderBook, asked: Asked) -> None:
        """Propose what a rule wants, unless it may not want it now, or has to match more often first."""
        rule, stop, event, _, error = wish
        cause = (once_per_slot(rule.throttle, event.logged_at) or event.event_id, *(["error"] if error else []))
        about = {name: told for name, told in ((CAMPAIGN, wish.campaign_id), ("error", error)) if told}
        order = proposal(rule, stop, event.account, cause=cause, evidence=[event.position], about=about)
        order = in_mode_of_now(order, book.controls)
        before = [one for one in orders_of(order, book) if as_strong(one.order, order)]
        if not may_order(rule.throttle, before, event.logged_at):
            return
        if rule.throttle.matches is not None and not error:
            asked.matches.append(_match(wish))
        elif not self._was_just_written(order, event, book):
            asked.orders.append(order)

    def _was_just_written(self, order: StopOrder, event: CallEvent, book: OrderBook) -> bool:
        """Whether another event has made this order a moment ago and the book has not read it yet.

        The analysis of a call and the event that sums it up often come in one batch. The same event gives the same order
        again: it is being folded once more.
        """
        key = (order.by.name, order.account, order.scope)
        earlier = self._on_its_way.get(key)
        if earlier is not None:
            first, by_event = earlier
            moments = abs(event.logged_at - by_event.logged_at)
            if by_event.event_id != event.event_id and moments < ON_ITS_WAY_SECONDS and not book.get(first.order_id):
                return True
        if len(self._on_its_way) >= ON_ITS_WAY:
            self._on_its_way.clear()
        self._on_its_way[key] = (order, event)
        return False


class _Wish(NamedTuple):
    """What a rule wants, on which event of which call; ``error`` where it failed and is to hold."""

    rule: EventRule
    stop: Stop
    event: CallEvent
    call: Call
    error: str | None = None

    @property
    def campaign_id(self) -> str | None:
        """The call's campaign, where nothing but the call is to be stopped."""
        return self.call.campaign_id if self.stop.scope.call_ids == (self.call.call_id,) else None


def _counts_all(rule: EventRule) -> bool:
    """Whether the events that a rule did not match count too: it wants so many of the last so many."""
    matches = rule.throttle.matches
    return matches is not None and matches.of is not None and rule.aim is not None


def _may_want(rule: EventRule, kind: EventType, status: Status | None) -> bool:
    return kind in rule.on and (rule.statuses is None or status in rule.statuses or _counts_all(rule))


def _is_own_doing(rule: EventRule, call: Call, book: OrderBook) -> bool:
    """Whether a call that is cancelled was stopped by the rule itself.

    Otherwise a rule on cancelled calls could go on and on by what it does.
    """
    orders = (book.get(order_id) for order_id in call.decided)
    return any(found and found.order.by.name == rule.name and found.order.mode is not Mode.SHADOW for found in orders)


def _to_be_approved(rule: EventRule, call: Call) -> Stop | None:
    """What waits for approval where a rule has raised; None where it is not to, or the call does not say what it is."""
    if rule.on_error != "hold" or rule.aim is None:
        return None
    try:
        return rule.aim.at(call, f"{rule.name} failed on this call, so a person has to decide")
    except (RuleError, ScopeError):
        return None


def _note_miss(rule: EventRule, event: CallEvent, call: Call, asked: Asked) -> None:
    try:
        stop = rule.aim.at(call, "not matched") if rule.aim else None
    except (RuleError, ScopeError):
        return
    if stop is not None:
        asked.matches.append(_match(_Wish(rule, stop, event, call), matched=False))


def _match(wish: _Wish, *, matched: bool = True) -> Match:
    rule, stop, event, *_ = wish
    return Match(
        rule.name,
        event.account,
        stop.scope.as_dict(),
        event.logged_at,
        event.event_id,
        matched,
        stop.reason,
        stop.hold,
        stop.reach.value,
        shown_all(stop.values),
        event.position,
        wish.campaign_id,
    )
