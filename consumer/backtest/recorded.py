"""What ``stop-orders`` has recorded, sorted into what a backtest takes from there and what it decides anew."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from consumer.model.controls import RuleMode
from consumer.model.matches import Match
from consumer.model.orders import Fact, StopOrder

Change = StopOrder | Fact | RuleMode | Match
"""What happened beside the events: orders and what became of them, modes set at run time, signals."""


@dataclass(slots=True)
class Written:
    """An order that the rule under test has made live, and what happened to it then."""

    order: StopOrder
    facts: list[Fact] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What there is beside the rules under test.

    ``changes`` are orders of operators and of other rules, with their facts, and what the rules under test had given
    before the backtest begins; the modes that they were set to at run time, and the signals for them. ``own`` are the
    orders that the very same rules (by name and hash) have made since: one that is made again comes into force when it did.
    """

    changes: tuple[Change, ...] = ()
    own: Mapping[str, Written] = field(default_factory=dict)

    @classmethod
    def sorted_out(
        cls, records: Iterable[Change], tested: Mapping[str, str], start: float, signals: Iterable[Match] = ()
    ) -> "Recorded":
        """Sort the records of the topic out.

        Modes set at run time are of rules by name. They count for a rule under test that is the one which ran: it has made
        orders with the same hash.

        Args:
            records: in the order of the topic, with the broker's time in ``at``.
            tested: the hashes of the rules under test by their names.
            start: when the backtest begins, in seconds.
            signals: those for the rules under test.

        """
        orders: dict[str, StopOrder] = {}
        facts: dict[str, list[Fact]] = {}
        modes: list[RuleMode] = []
        for record in records:
            if isinstance(record, Fact):
                facts.setdefault(record.order_id, []).append(record)
            elif isinstance(record, RuleMode):
                modes.append(record)
            elif isinstance(record, StopOrder):
                known = orders.get(record.order_id, record)
                orders[record.order_id] = replace(record, at=min(record.at, known.at))
        as_they_ran = {one.by.name for one in orders.values() if one.by.hash == tested.get(one.by.name, "")}
        changes: list[Change] = [*signals, *(mode for mode in modes if mode.rule in as_they_ran)]
        own: dict[str, Written] = {}
        for order in orders.values():
            happened = facts.get(order.order_id, [])
            is_tested = not order.by.is_operator and order.by.name in tested
            if not is_tested or (order.by.hash == tested[order.by.name] and order.at < start):
                changes += [order, *happened]
            elif order.by.hash == tested[order.by.name]:
                own[order.order_id] = Written(order, happened)
        return cls(tuple(sorted(changes, key=lambda change: change.at)), own)
