"""What was ordered to stop, as the judge was told: the yardstick for what was stopped."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from .calls import TERMINABLE, Call, CallTable


@checked(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Told:
    """One order: calls, an agent, numbers, a campaign, or numbers within a campaign.

    `opt_outs`: every other call of a person from the moment this simulator said that the person opted out.
    `allow_live`: live calls of it may be cut too.
    """

    call_ids: frozenset[str] = frozenset()
    campaign_id: str | None = None
    agent_id: str | None = None
    mobile_numbers: frozenset[str] = frozenset()
    opt_outs: bool = False
    allow_live: bool = False

    def __post_init__(self) -> None:
        if not (self.call_ids or self.campaign_id or self.agent_id or self.mobile_numbers or self.opt_outs):
            raise ValueError("an order needs call_ids, campaign_id, agent_id, mobile_numbers or opt_outs")

    def selectors(self) -> Iterator[tuple[str, str]]:
        """Give under what the order is found; numbers within a campaign under the numbers."""
        yield from (("call", call_id) for call_id in self.call_ids)
        yield from (("number", number) for number in self.mobile_numbers)
        if self.campaign_id and not self.mobile_numbers:
            yield "campaign", self.campaign_id
        if self.agent_id:
            yield "agent", self.agent_id

    def means(self, kind: str, call: Call) -> bool:
        return kind != "number" or self.campaign_id is None or self.campaign_id == call.campaign.id


@dataclass(slots=True, eq=False)
class _Order:
    told: Told
    released_at: float | None = None


class Orders:
    def __init__(self) -> None:
        self._by_id: dict[str, _Order] = {}
        self._by_key: defaultdict[tuple[str, str], list[_Order]] = defaultdict(list)
        self._opted_out_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def tell(self, told: Told) -> str:
        """Keep an order; gives its id."""
        order_id = str(len(self._by_id) + 1)
        order = _Order(told)
        self._by_id[order_id] = order
        for key in told.selectors():
            self._by_key[key].append(order)
        if told.opt_outs:
            self._by_key["opt-outs", ""].append(order)
        return order_id

    def release(self, order_id: str, now: float) -> bool:
        """End an order: calls cut later are not covered by it. False when there is no such order."""
        order = self._by_id.get(order_id)
        if order is None:
            return False
        order.released_at = now
        return True

    def opted_out(self, number: str, now: float) -> None:
        """Note that the simulator says from now on that the person opted out."""
        self._opted_out_at.setdefault(number, now)

    @property
    def people_opted_out(self) -> int:
        return len(self._opted_out_at)

    def covers(self, call: Call, at: float, *, live: bool = False) -> bool:
        """Whether an order covers this call at that time; `live`: one that lets live calls be cut."""
        return any(
            (order.released_at is None or at < order.released_at) and (order.told.allow_live or not live)
            for order in self._orders_of(call, at)
        )

    def still_terminable(self, table: CallTable) -> int:
        """Count the calls under an order in force that can still be stopped."""
        found: set[Call] = set()
        for order in self._by_id.values():
            if order.released_at is None:
                found.update(call for call in self._meant(order.told, table) if call.terminable)
        return len(found)

    def _meant(self, told: Told, table: CallTable) -> Iterator[Call]:
        yield from (table.by_id[call_id] for call_id in told.call_ids if call_id in table.by_id)
        yield from (call for call in table.of_numbers(told.mobile_numbers) if told.means("number", call))
        if told.campaign_id and not told.mobile_numbers:
            yield from table.of_campaign(told.campaign_id, TERMINABLE)
        if told.agent_id:
            yield from table.of_agent(told.agent_id, TERMINABLE)
        if told.opt_outs:
            yield from table.of_numbers(self._opted_out_at)

    def _orders_of(self, call: Call, at: float) -> Iterable[_Order]:
        keys = (
            ("call", call.id),
            ("number", call.number),
            ("campaign", call.campaign.id),
            ("agent", call.campaign.agent_id),
        )
        for key in keys:
            yield from (order for order in self._by_key.get(key, ()) if order.told.means(key[0], call))
        if self._opted_out_at.get(call.number, at + 1) <= at:
            yield from self._by_key.get(("opt-outs", ""), ())
