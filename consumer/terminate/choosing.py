"""Which calls go into the next request: looked at in the last moment, a bounded number at a time.

Emergencies leave before opt-outs and those before what rules want; in a lane, who waits longest: providers dial in the order
in which calls were registered, so that is who would be dialled soonest.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from consumer.kafka.clock import Clock
from consumer.kafka.ledger import ANY_LANE, FIRST_PLACE, Ledger, SendPlace, place_of
from consumer.kafka.order_book import StoredOrderBook
from consumer.model.accounts import Account
from consumer.model.controls import Controls
from consumer.model.orders import EMERGENCY, Mode, OrderRecord, OrderState, Reach, effective_mode
from consumer.model.terminations import Attempt, Result, State, Termination
from consumer.terminate import covered, earlier
from consumer.terminate.entries import closed
from consumer.terminate.gathering import Gathering

SETTLE_AT_ONCE = 500
PASS_OVER_AT_ONCE = 500
"""So many are looked at in one go, however many wait: other accounts share this partition, its view and its event loop."""
NOT_JUDGED = {OrderState.PROPOSED, OrderState.AWAITING_APPROVAL}


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into the next request, and the facts about what needs none: unwanted now, or stopped with its scope."""

    batch: tuple[Termination, ...]
    settled: tuple[Attempt | Result, ...]


class Chooser:
    """Chooses among the terminations of one partition's ledger."""

    def __init__(self, ledger: Ledger, book: StoredOrderBook, *, clock: Clock, spare_live: Mapping[str, bool]) -> None:
        """Choose by the orders in ``book``; ``spare_live``: by account, whether stopping a scope cuts no live call."""
        self._ledger = ledger
        self._book = book
        self._clock = clock
        self._spare_live = spare_live
        self._gathering: dict[str, Gathering] = {}
        self._passed_over: dict[str, SendPlace] = {}
        self._orders: dict[str, _Order] = {}

    def came(self, t: Termination, *, bulk: bool) -> None:
        """Note a decision that has just been read."""
        gathering = self._gathering.setdefault(t.account, Gathering())
        gathering.came(self._clock.monotonic(), emergency=t.lane == EMERGENCY, bulk=bulk)

    def gathered_at(self, account: Account) -> float:
        """When, in monotonic seconds, a batch that is not full may leave."""
        gathering = self._gathering.get(account.name)
        return gathering.ready_at(account.batch.linger) if gathering else float("-inf")

    def emptied(self, account: str) -> None:
        """Note that nothing of an account is left to be sent now: the linger begins anew with the next call."""
        if gathering := self._gathering.get(account):
            gathering.emptied()

    def is_looking_further(self, account: str) -> bool:
        """Whether some that cannot be judged yet were passed over, and what stands behind them is still to be looked at."""
        return account in self._passed_over

    def to_send(self, account: str, now: float, limit: int, skip: AbstractSet[str]) -> list[Termination]:
        """The next terminations to be sent or closed, but for ``skip`` and for those that cannot be judged yet.

        Where some cannot, a bounded number behind them is looked at too, and the next call goes on from there.
        """
        self._orders.clear()
        lane = EMERGENCY if self._lever_engaged else ANY_LANE
        place = self._passed_over.pop(account, FIRST_PLACE)
        first = self._ledger.to_send(account, now, limit, skip, up_to_lane=lane)
        found = [t for t in first if self._may_go(t, now, skip)]
        if len(found) == len(first):
            return found
        place = max(place, place_of(first[-1]))
        more = self._ledger.to_send(account, now, PASS_OVER_AT_ONCE, skip, after=place, up_to_lane=lane)
        found += [t for t in more if self._may_go(t, now, skip)]
        if len(found) < limit and len(more) == PASS_OVER_AT_ONCE:
            self._passed_over[account] = place_of(more[-1])
        return found[:limit]

    def choose(
        self,
        account: Account,
        now: float,
        limit: int,
        busy: AbstractSet[str],
        found: Sequence[Termination] | None = None,
    ) -> Choice:
        """Choose up to ``limit`` calls that an order in force still wants stopped, now that there is a token for them.

        ``found`` is what ``to_send`` has just given, if it was asked. A stop of a whole scope is a request of its own. At
        most some hundreds are settled in one go; the ledger learns of them once that is written.
        """
        if found is None:
            self._orders.clear()
        batch: dict[str, Termination] = {}
        settled: list[Attempt | Result] = []
        skip = set(busy)
        while len(settled) < SETTLE_AT_ONCE:
            if found is None:
                found = self.to_send(account.name, now, SETTLE_AT_ONCE if settled else limit - len(batch), skip)
            if not found:
                self.emptied(account.name)
                break
            for t in found:
                if self._consider(t, batch, settled, account, now) or len(batch) == limit:
                    return Choice(tuple(batch.values()), tuple(settled))
                skip.add(t.termination_id)
            found = None
        return Choice(tuple(batch.values()), tuple(settled))

    def _consider(
        self,
        t: Termination,
        batch: dict[str, Termination],
        settled: list[Attempt | Result],
        account: Account,
        now: float,
    ) -> bool:
        """Take ``t`` into the batch or settle it; says whether nothing more may go into this request."""
        plainly = self._plainly_wanted(t, now)
        if not plainly and (refused := self._no_longer_wanted(t, now)):
            settled.append(refused)
        elif (
            not plainly
            and self._may_be_covered(t, now)
            and (shared := covered.shared_request(t, self._book, self._ledger.get))
        ):
            settled += shared
        elif t.episode and (made := earlier.shared_request(t, self._ledger.get, account.confirm_within)):
            settled += made
        elif t.scope is not None:
            if not batch:
                batch[t.call_id] = t
            return True
        else:
            if twin := batch.get(t.call_id):
                past, t = sorted((twin, t), key=lambda one: one.episode)
                settled.append(closed(past, State.MISSED, now, "the call has come back to wait once more"))
            batch[t.call_id] = t
        return False

    def still_wanted(self, ids: tuple[str, ...], now: float) -> tuple[Termination, ...]:
        """Look again at calls that were chosen earlier: set aside for a smaller request, or about to leave."""
        self._orders.clear()
        found = (self._ledger.get(one) for one in ids)
        return tuple(t for t in found if t and not t.state.over and self._is_wanted(t, now))

    def _is_wanted(self, t: Termination, now: float) -> bool:
        return self._plainly_wanted(t, now) or (self._can_be_judged(t, now) and not self._no_longer_wanted(t, now))

    def _may_go(self, t: Termination, now: float, busy: AbstractSet[str]) -> bool:
        """Whether it can be judged, and no request for an earlier episode of the call is under way."""
        if t.episode and earlier.is_asked_for(t, busy):
            return False
        return self._plainly_wanted(t, now) or self._can_be_judged(t, now)

    def _can_be_judged(self, t: Termination, now: float) -> bool:
        """Whether an order enforces it, or all of them are known and none is still to be let through.

        The correlator, which decided, may have read ``stop-orders`` further than we have: an order that is not there yet,
        or not let through yet, is waited for. So is the release of the safety lever, where only rules want it.
        """
        known = [self._order(order_id, now) for order_id in t.orders]
        enforcing = [order for order in known if order.enforces(t)]
        if enforcing and self._lever_engaged and not any(order.by_operator for order in enforcing):
            return False
        judged = bool(enforcing) or not any(order.state in NOT_JUDGED for order in known)
        return judged and not (self._may_be_covered(t, now) and covered.must_wait(t, self._book, self._ledger.get))

    def _plainly_wanted(self, t: Termination, now: float) -> bool:
        """Whether one order in force wants it and there is nothing else to judge, as with most calls of a campaign."""
        if len(t.orders) != 1 or t.scope is not None:
            return False
        order = self._order(t.orders[0], now)
        return order.wants_all and (order.by_operator or not self._lever_engaged)

    def _order(self, order_id: str, now: float) -> "_Order":
        """Look an order up, once for all calls that are looked at together."""
        known = self._orders.get(order_id)
        if known is None:
            record = self._book.get(order_id)
            known = self._orders[order_id] = _Order(record, record.state(now) if record else OrderState.PROPOSED)
        return known

    def _may_be_covered(self, t: Termination, now: float) -> bool:
        """Whether an order asks for the provider's own stop of a scope too, which may be this call's request."""
        return any(self._order(order_id, now).reaches_everything for order_id in t.orders)

    @property
    def controls(self) -> Controls:
        """The lever and the alerts, as far as ``stop-orders`` has been read."""
        return self._book.controls

    @property
    def _lever_engaged(self) -> bool:
        return self.controls.lever_engaged

    def only_rules_want(self, t: Termination) -> bool:
        """Whether no operator ever wanted this call stopped."""
        wanted = [self._book.get(order_id) for order_id in t.orders]
        return not any(record is None or record.order.by.is_operator for record in wanted)

    def _no_longer_wanted(self, t: Termination, now: float) -> Result | None:
        """Judge a termination again: give the outcome that closes it, None while an order in force enforces it."""
        known = [self._order(order_id, now) for order_id in t.orders]
        if enforcing := [order for order in known if order.enforces(t)]:
            if t.scope is None or self._spare_live[t.account] or any(order.allows_live for order in enforcing):
                return None
            return closed(t, State.FAILED, now, "it may cut live calls, and the order does not say allow_live")
        states = {order.state for order in known if order.record}
        if OrderState.EXPIRED in states:
            return closed(t, State.EXPIRED, now, "its order expired before it could be sent")
        return closed(t, State.WITHDRAWN, now, "no order wants it any more")


class _Order:
    """An order, and where it stands at the time at which calls are looked at; None where it has not been read yet."""

    __slots__ = ("allows_live", "by_operator", "reaches_everything", "record", "state", "wants_all")

    def __init__(self, record: OrderRecord | None, state: OrderState) -> None:
        self.record = record
        self.state = state
        order = record.order if record else None
        self.by_operator = order is not None and order.by.is_operator
        self.reaches_everything = order is not None and order.reach is Reach.EVERYTHING
        self.allows_live = order is not None and order.allow_live
        in_force = order is not None and order.mode is Mode.ENFORCE and state is OrderState.IN_FORCE
        self.wants_all = in_force and not self.reaches_everything

    def enforces(self, t: Termination) -> bool:
        """Whether it wants this call stopped, and means it."""
        if self.record is None or self.state is not OrderState.IN_FORCE:
            return False
        return effective_mode(self.record.order, t.call_id, t.campaign_id) is Mode.ENFORCE
