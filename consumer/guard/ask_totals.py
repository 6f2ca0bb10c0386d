"""Asking the rules over totals about a scope whose totals have changed. Pure; time is what the records tell.

A rule that holds is asked again with every change. It orders once: while its order stands there is nothing to add, and when
that has ended, it counts only what has come since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from consumer.model.controls import Alert, as_strong, in_mode_of_now
from consumer.model.matches import Match
from consumer.model.order_book import OrderBook
from consumer.model.orders import StopOrder
from consumer.model.over import HEARD_OF, ScopeName, SumsOver, Totals
from consumer.model.patience import Patience
from consumer.model.proposals import proposal
from consumer.model.rules import Rule, Stop, TotalsRule
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.throttles import begins_anew, may_order, once_per_slot, orders_of
from consumer.model.totals import MINUTE_SECONDS, minute_of

ON_ITS_WAY = 1_000
ON_ITS_WAY_SECONDS = 10.0


class TotalsFailure(NamedTuple):
    """A rule that raised, about which scope and up to which minute: recorded and counted, stops nothing."""

    rule: str
    version: str
    error: str
    scope: ScopeName
    minute: int


@dataclass(slots=True)
class Asked:
    """What rules said of a scope's totals."""

    orders: list[StopOrder] = field(default_factory=list)
    failures: list[TotalsFailure] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)


class Moment(NamedTuple):
    """About what and when rules are asked: a scope, the latest minute counted in it, and the broker's time (seconds)."""

    scope: ScopeName
    minute: int
    now: float


class TotalsRules:
    """The rules over totals in force, by the kind of scope they are about."""

    def __init__(self, rules: Iterable[Rule], *, node: str = "") -> None:
        """Prepare to ask those of ``rules`` that are about totals; ``node`` as for ``Rules``."""
        self.rules = tuple(rule for rule in rules if isinstance(rule, TotalsRule))
        self.kinds = frozenset(rule.over.scope for rule in self.rules)
        self._patience = Patience(node)
        self._on_its_way: dict[tuple[str, str, Scope], tuple[str, float]] = {}
        self._failed: dict[tuple[str, ScopeName], int] = {}

    @property
    def longest_seconds(self) -> float:
        """The longest window of any rule."""
        return max((rule.over.seconds for rule in self.rules), default=0.0)

    @property
    def given_up(self) -> Mapping[str, str]:
        """The rules that took too long too often, and what is said of each."""
        return self._patience.given_up

    def alerts(self, known: Mapping[str, Alert], now: float) -> list[Alert]:
        """What is to be said, or taken back, of rules that take too long; ``known`` are the active alerts."""
        return self._patience.alerts(known, now)

    def ask(self, moment: Moment, sums: SumsOver, book: OrderBook) -> Asked:
        """Ask every rule about this kind of scope."""
        asked = Asked()
        for rule in self.rules:
            if rule.over.scope == moment.scope[1] and rule.name not in self._patience.given_up:
                self._ask_one(rule, moment, sums, book, asked)
        return asked

    def _ask_one(self, rule: TotalsRule, moment: Moment, sums: SumsOver, book: OrderBook, asked: Asked) -> None:
        first = moment.minute - (ceil(rule.over.seconds / MINUTE_SECONDS) - 1) * MINUTE_SECONDS
        totals = _totals(rule, moment, sums, first)
        if totals.finished < rule.over.at_least:
            return
        error: str | None = None
        try:
            stops = self._stops(rule, totals)
        # People's code, as in correlate: whatever it raises stops nothing and is recorded.
        except (Exception, SystemExit) as raised:  # noqa: BLE001
            error = f"{type(raised).__name__}: {raised}"[:500]
            self._note_failure(rule, moment, error, asked)
            stops = _to_be_approved(rule, totals)
        if rule.name in self._patience.given_up:
            asked.failures.append(_failure(rule, moment, self._patience.given_up[rule.name]))
        for stop in stops:
            self._want(_Wish(rule, stop, first, error), moment, sums, book, asked)

    def _stops(self, rule: TotalsRule, totals: Totals) -> list[Stop]:
        found = self._patience.ask(rule, rule.evaluate, totals)
        stops = [found] if isinstance(found, Stop) else list(found or ())
        for stop in stops:
            if not isinstance(stop, Stop):
                raise TypeError(f"the rule gave {type(stop).__name__}, not Stop or None")
        return stops

    def _want(self, wish: "_Wish", moment: Moment, sums: SumsOver, book: OrderBook, asked: Asked) -> None:
        """Propose what a rule wants, unless it may not want it now, or wants it only for what has been dealt with."""
        rule, stop = wish.rule, wish.stop
        account = moment.scope[0]
        order = in_mode_of_now(_order(wish, moment), book.controls)
        before = [one for one in orders_of(order, book) if as_strong(one.order, order)]
        if not may_order(rule.throttle, before, moment.now) or self._was_just_said(order, moment.now, book):
            return
        anew = minute_of(begins_anew(before, moment.now)) + MINUTE_SECONDS
        if anew > wish.first and wish.error is None and not self._holds_since(anew, wish, moment, sums):
            return
        if rule.throttle.matches is not None and wish.error is None:
            asked.matches.append(
                Match(
                    rule.name,
                    account,
                    stop.scope.as_dict(),
                    float(moment.minute),
                    f"minute/{moment.minute}",
                    reason=stop.reason,
                    hold=stop.hold,
                    reach=stop.reach.value,
                    values=dict((order.explanation or {}).get("values", {})),
                )
            )
            return
        if len(self._on_its_way) >= ON_ITS_WAY:
            self._on_its_way.clear()
        self._on_its_way[rule.name, account, stop.scope] = (order.order_id, moment.now)
        asked.orders.append(order)

    def _holds_since(self, minute: int, wish: "_Wish", moment: Moment, sums: SumsOver) -> bool:
        """Whether the rule still wants the same, looking at nothing before a minute."""
        if minute > moment.minute:
            return False
        totals = _totals(wish.rule, moment, sums, minute)
        if totals.finished < wish.rule.over.at_least:
            return False
        try:
            return any(stop.scope == wish.stop.scope for stop in self._stops(wish.rule, totals))
        except (Exception, SystemExit):  # noqa: BLE001 -- it has not failed on the whole window, and is asked again
            return False

    def _was_just_said(self, order: StopOrder, now: float, book: OrderBook) -> bool:
        """Whether the order was proposed a moment ago and the book has not read it yet."""
        said = self._on_its_way.get((order.by.name, order.account, order.scope))
        return said is not None and now - said[1] < ON_ITS_WAY_SECONDS and book.get(said[0]) is None

    def _note_failure(self, rule: TotalsRule, moment: Moment, error: str, asked: Asked) -> None:
        """Record a failure, once a minute for each scope: totals change every second."""
        key = (rule.name, moment.scope)
        if self._failed.get(key) != moment.minute:
            if len(self._failed) >= ON_ITS_WAY:
                self._failed.clear()
            self._failed[key] = moment.minute
            asked.failures.append(_failure(rule, moment, error))


class _Wish(NamedTuple):
    """What a rule wants, founded on the minutes from ``first`` on; ``error`` where it failed and is to hold."""

    rule: TotalsRule
    stop: Stop
    first: int
    error: str | None


def _totals(rule: TotalsRule, moment: Moment, sums: SumsOver, first: int) -> Totals:
    account, kind, name = moment.scope
    found = sums.within("/".join(moment.scope), first, moment.minute)
    heard_of = {
        what: tuple(sorted(told[len(what) + 1 :] for told in found.sums if told.startswith(f"{what}/")))
        for what in (HEARD_OF if kind == "account" else ())
    }
    return Totals(
        account,
        kind,
        name,
        float(moment.minute + MINUTE_SECONDS),
        **{figure: float(value) for figure, value in found.figures.items()},
        open=float(found.open),
        sums={own: found.sums.get(measure.name, 0.0) for own, measure in rule.measures.items()},
        heard_of=heard_of,
    )


def _order(wish: _Wish, moment: Moment) -> StopOrder:
    rule = wish.rule
    cause = [once_per_slot(rule.throttle, moment.now) or f"minute/{moment.minute}", *(["error"] if wish.error else [])]
    window = {"scope": rule.over.scope, "window_seconds": rule.over.seconds, "at_least": rule.over.at_least}
    about = {"over": {**window, "first_minute": wish.first, "last_minute": moment.minute}}
    if wish.error:
        about |= {"error": wish.error}  # type: ignore[dict-item]
    return proposal(rule, wish.stop, moment.scope[0], cause=cause, about=about)


def _to_be_approved(rule: TotalsRule, totals: Totals) -> list[Stop]:
    """What waits for approval where a rule has raised: its scope."""
    if rule.on_error != "hold" or rule.aim is None:
        return []
    kind: ScopeKind = rule.aim.scope
    because = f"{rule.name} failed on these totals, so a person has to decide"
    return [Stop(scope, because, rule.aim.hold, rule.aim.reach) for scope in totals.scopes(kind)]


def _failure(rule: TotalsRule, moment: Moment, error: str) -> TotalsFailure:
    return TotalsFailure(rule.name, rule.version, error, moment.scope, moment.minute)
