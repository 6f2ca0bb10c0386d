"""A test of rules: events go in, and the orders that the rules make are held against those expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumer.backtest.course import Made
from consumer.backtest.plan import Plan
from consumer.model.durations import format_hold
from consumer.model.events import CallEvent
from consumer.model.orders import StopOrder
from consumer.model.scopes import Scope

Fields = Mapping[str, str]
"""What is compared of an order, in words: rule, scope, reason, hold, mode."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An order that must be made. What is None may be anything; ``reason`` is a part of the order's."""

    rule: str
    scope: Scope | None = None
    reason: str | None = None
    hold: str | None = None
    mode: str | None = None

    def differences(self, order: StopOrder) -> dict[str, tuple[str, str]]:
        """Give, for every field that is not as expected, what was expected and what was found."""
        wanted = {
            "rule": self.rule,
            "scope": None if self.scope is None else in_words(self.scope),
            "hold": self.hold,
            "mode": self.mode,
        }
        found = fields_of(order)
        different = {
            name: (value, found[name]) for name, value in wanted.items() if value is not None and value != found[name]
        }
        if self.reason is not None and self.reason not in order.reason:
            different["reason"] = (f"…{self.reason}…", order.reason)
        return different

    def fields(self) -> dict[str, str]:
        """Write it in words, without what may be anything."""
        told = {
            "rule": self.rule,
            "scope": None if self.scope is None else in_words(self.scope),
            "reason": None if self.reason is None else f"…{self.reason}…",
            "hold": self.hold,
            "mode": self.mode,
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Case:
    """One test. ``stopped`` None: which calls are stopped is not asked."""

    name: str
    events: Sequence[CallEvent]
    expected: Sequence[Expected]
    stopped: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test came to. ``wrong`` are orders that are nearly as expected, with what is different."""

    name: str
    wrong: Sequence[tuple[Expected, Mapping[str, tuple[str, str]]]] = ()
    missing: Sequence[Expected] = ()
    unexpected: Sequence[Fields] = ()
    not_stopped: Sequence[str] = ()
    stopped_too: Sequence[str] = ()
    failures: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        found = (self.wrong, self.missing, self.unexpected, self.not_stopped, self.stopped_too, self.failures)
        return not any(found)


def run(case: Case, plan: Plan) -> Verdict:
    """Lead the events past the rules, and compare."""
    orders: list[StopOrder] = []
    stopped: dict[str, None] = {}

    def witness(made: Made) -> None:
        if isinstance(made, StopOrder):
            orders.append(made)
        elif made.call_id:
            stopped[made.call_id] = None

    tally = plan.tally()
    course = plan.with_witness(witness).course(tally)
    for event in case.events:
        course.take(event)
    course.finish()
    failures = [f"{name}: {one.first_failure}" for name, one in tally.rules.items() if one.first_failure]
    wrong, missing, unexpected = _compared(case.expected, orders)
    wanted = frozenset(stopped) if case.stopped is None else case.stopped
    return Verdict(
        case.name,
        wrong,
        missing,
        unexpected,
        sorted(wanted - set(stopped)),
        sorted(set(stopped) - wanted),
        failures,
    )


def fields_of(order: StopOrder) -> dict[str, str]:
    """Write what is compared of an order, in words; a number shows its last digits only in its scope's words."""
    return {
        "rule": order.by.name,
        "scope": in_words(order.scope),
        "reason": order.reason,
        "hold": format_hold(order.hold),
        "mode": str(order.mode),
    }


def in_words(scope: Scope) -> str:
    """Write a scope as a test file does."""
    named = {name: value if isinstance(value, str) else ", ".join(value) for name, value in scope.as_dict().items()}
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _compared(
    expected: Sequence[Expected], orders: Sequence[StopOrder]
) -> tuple[list[tuple[Expected, Mapping[str, tuple[str, str]]]], list[Expected], list[Fields]]:
    """Pair what is expected with what was made: first what fits, then, for the same rule, what is nearest."""
    left = list(orders)
    open_wishes: list[Expected] = []
    for wish in expected:
        fitting = next((order for order in left if not wish.differences(order)), None)
        if fitting is None:
            open_wishes.append(wish)
        else:
            left.remove(fitting)
    wrong: list[tuple[Expected, Mapping[str, tuple[str, str]]]] = []
    missing: list[Expected] = []
    for wish in open_wishes:
        same_rule = [order for order in left if order.by.name == wish.rule]
        if same_rule:
            nearest = min(same_rule, key=lambda order: len(wish.differences(order)))
            left.remove(nearest)
            wrong.append((wish, wish.differences(nearest)))
        else:
            missing.append(wish)
    return wrong, missing, [fields_of(order) for order in left]
