"""What ``stop-orders`` has recorded, sorted into what a backtest takes from there and what it decides anew."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from consumer.model.orders import Fact, StopOrder

Change = StopOrder | Fact


@dataclass(slots=True)
class Written:
    """An order that the rule under test has made live, and what happened to it then."""

    order: StopOrder
    facts: list[Fact] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What there is beside the rules under test.

    ``changes`` are orders of operators and of other rules, with their facts, and what the rules under test had given
    before the backtest begins. ``own`` are the orders that the very same rules (by name and hash) have made since: one
    that is made again comes into force when it did.
    """

    changes: tuple[Change, ...] = ()
    own: Mapping[str, Written] = field(default_factory=dict)

    @classmethod
    def sorted_out(cls, records: Iterable[Change], tested: Mapping[str, str], start: float) -> "Recorded":
        """Sort the records of the topic out.

        Args:
            records: in the order of the topic, with the broker's time in ``at``.
            tested: the hashes of the rules under test by their names.
            start: when the backtest begins, in seconds.

        """
        orders: dict[str, StopOrder] = {}
        facts: dict[str, list[Fact]] = {}
        for record in records:
            if isinstance(record, Fact):
                facts.setdefault(record.order_id, []).append(record)
            else:
                known = orders.get(record.order_id, record)
                orders[record.order_id] = replace(record, at=min(record.at, known.at))
        changes: list[Change] = []
        own: dict[str, Written] = {}
        for order in orders.values():
            happened = facts.get(order.order_id, [])
            is_tested = not order.by.is_operator and order.by.name in tested
            if not is_tested or (order.by.hash == tested[order.by.name] and order.at < start):
                changes += [order, *happened]
            elif order.by.hash == tested[order.by.name]:
                own[order.order_id] = Written(order, happened)
        return cls(tuple(sorted(changes, key=lambda change: change.at)), own)
