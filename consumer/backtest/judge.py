"""Whether what a rule proposes comes into force in a backtest: what guard would say, from the calls that wait."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from typing import Any

from consumer.backtest.lives import Lives
from consumer.model.calls import Call
from consumer.model.limits import Count, Limits, Look, Subject, count_of_named, look
from consumer.model.orders import Author, Fact, FactKind, Mode, StopOrder, effective_mode
from consumer.model.protected import Protected
from consumer.model.scopes import ScopeKind, call_keys

GUARD = Author("guard", "guard")
WOULD_WAIT = "would_wait"


class _Used:
    """The calls that were let through for one subject, each lot with its time, and how many there are in all."""

    __slots__ = ("lots", "total")

    def __init__(self) -> None:
        self.lots: deque[tuple[float, int]] = deque()
        self.total = 0

    def add(self, at: float, calls: int) -> None:
        self.lots.append((at, calls))
        self.total += calls

    def since(self, moment: float) -> int:
        """How many there are after a moment, which only ever grows."""
        while self.lots and self.lots[0][0] <= moment:
            self.total -= self.lots.popleft()[1]
        return self.total


class Judge:
    """Judges orders by the limits, as the owner of partition 0 of ``scope-totals`` does."""

    def __init__(self, limits: Limits, protected: Protected, lives: Lives) -> None:
        self._limits = limits
        self._protected = protected
        self._lives = lives
        self._used: dict[tuple[Subject, bool], _Used] = defaultdict(_Used)

    def answer(self, order: StopOrder, now: float) -> Fact:
        """Admit an order or hold it; one in shadow is admitted, with ``WOULD_WAIT`` in the details where it would wait."""
        error = (order.explanation or {}).get("error")
        count = self._count(order) if self._limits.any else Count(0)
        looks = look(order, count, self._limits, lambda subject, within: self._used_by(order, subject, now - within))
        reasons = [f"the rule failed: {error}"] if error else []
        reasons += [f"{one.of}: {one.over}" for one in looks if one.over]
        fact = _fact(order, count, looks, reasons, now)
        if fact.kind is FactKind.ADMITTED and self._limits.any:
            self._let(order, count, now)
        return fact

    def _count(self, order: StopOrder) -> Count:
        """Count the calls that an order would stop now."""
        lives, account = self._lives, order.account
        open_calls = lives.open((account, "account", ""))
        if order.scope.kind is ScopeKind.CALL:
            return count_of_named(order, open_calls)
        by_campaign: Counter[str] = Counter()
        matched = 0
        for call in self._would_stop(order):
            matched += 1
            if call.campaign_id:
                by_campaign[call.campaign_id] += 1
        return Count(
            matched, open_calls, by_campaign, {name: lives.open((account, "campaign", name)) for name in by_campaign}
        )

    def _would_stop(self, order: StopOrder) -> Iterator[Call]:
        keys = set(order.scope.index_keys())
        for call in self._lives.waiting(order.account, order.scope):
            if self._protected.covers(call) or keys.isdisjoint(call_keys(call)):
                continue
            mode = effective_mode(order, call.call_id, call.campaign_id)
            if order.mode is Mode.SHADOW or mode is Mode.ENFORCE:
                yield call

    def _let(self, order: StopOrder, count: Count, now: float) -> None:
        """Note what was let through, for everybody whose limits it counts towards."""
        rule, account, shadow = order.by.name, order.account, order.mode is Mode.SHADOW
        for subject in (Subject(rule=rule), Subject(rule=rule, account=account), Subject(account=account)):
            self._used[subject, shadow].add(now, count.matched)
        for campaign, calls in count.by_campaign.items():
            self._used[Subject(account=account, campaign=campaign), shadow].add(now, calls)

    def _used_by(self, order: StopOrder, subject: Subject, since: float) -> int:
        """What was let through for a subject; orders in shadow count only towards others in shadow."""
        used = self._used[subject, False].since(since)
        return used + self._used[subject, True].since(since) if order.mode is Mode.SHADOW else used


def _fact(order: StopOrder, count: Count, looks: list[Look], reasons: list[str], now: float) -> Fact:
    details: dict[str, Any] = {"limits": [one.as_dict() for one in looks], "count": count.matched}
    if not reasons:
        return Fact(order.order_id, FactKind.ADMITTED, GUARD, "within the limits", now, details)
    why = "; ".join(reasons)
    if order.mode is Mode.SHADOW:
        return Fact(order.order_id, FactKind.ADMITTED, GUARD, why, now, details | {WOULD_WAIT: True})
    return Fact(order.order_id, FactKind.HELD, GUARD, why, now, details)


def waits(fact: Fact) -> bool:
    """Whether a fact says that the order waits for approval, or would if it were not in shadow."""
    return fact.kind is FactKind.HELD or bool((fact.details or {}).get(WOULD_WAIT))
