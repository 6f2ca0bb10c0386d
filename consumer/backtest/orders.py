"""The stop orders of a backtest, in memory: an ``OrderBook`` that answers in the order in which the live one does."""

from collections.abc import Iterable, Mapping, Sequence

from consumer.kafka.order_names import AimedNames, Hit, Named, named
from consumer.model.calls import Call
from consumer.model.controls import Controls, RuleMode
from consumer.model.order_book import begun
from consumer.model.orders import Fact, OrderRecord, StopOrder
from consumer.model.scopes import Key

DEFAULT_DECISION_TTL_SECONDS = 900.0
NONE: Sequence[OrderRecord] = ()


class Orders:
    """Orders by id and by what they are aimed at. ``decision_ttl`` is by account, in seconds."""

    def __init__(self, decision_ttl: Mapping[str, float] | None = None) -> None:
        self.controls = Controls()
        self._decision_ttl = decision_ttl or {}
        self.any = False
        self._records: dict[str, OrderRecord] = {}
        self._names = AimedNames()
        self._aimed: dict[tuple[str, Hit], list[str]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def get(self, order_id: str) -> OrderRecord | None:
        return self._records.get(order_id)

    def aimed_at(self, call: Call) -> Sequence[OrderRecord]:
        """Every order, in force or not, whose scope covers the call."""
        hits = self._names.hits(call)
        return self._found(call.account, hits) if hits else NONE

    def may_cover(self, call: Named) -> bool:
        """Whether any order, in force or not, may cover a call with these names."""
        return bool(self._names.hits(call))

    def with_scope_keys(self, account: str, keys: Sequence[Key]) -> Sequence[OrderRecord]:
        """Every order of the account aimed at one of these keys."""
        return self._found(account, [named(key) for key in keys])

    def put(self, order: StopOrder, facts: Iterable[Fact] = ()) -> OrderRecord:
        """Take an order up with what has happened to it; one that is known stays as it is."""
        known = self._records.get(order.order_id)
        if known is not None:
            return known
        ttl = self._decision_ttl.get(order.account, DEFAULT_DECISION_TTL_SECONDS)
        record = self._records[order.order_id] = begun(order, facts, ttl)
        self.any = True
        for key in order.scope.index_keys():
            kind, name = named(key)
            self._names.add(order.account, kind, [name])
            self._aimed.setdefault((order.account, (kind, name)), []).append(order.order_id)
        return record

    def put_fact(self, fact: Fact) -> OrderRecord | None:
        """Add what happened to an order; None where there is no such order."""
        known = self._records.get(fact.order_id)
        if known is None:
            return None
        record = self._records[fact.order_id] = known.with_fact(fact)
        return record

    def set_mode(self, mode: RuleMode) -> None:
        """Have a rule in another mode from here on, or again in that of the configuration."""
        self.controls = self.controls.with_all([(mode.key, mode)])

    def _found(self, account: str, hits: Sequence[Hit]) -> Sequence[OrderRecord]:
        ids = dict.fromkeys(order_id for hit in hits for order_id in self._aimed.get((account, hit), ()))
        return [self._records[order_id] for order_id in ids]
