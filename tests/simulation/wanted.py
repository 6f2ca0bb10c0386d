"""Whether an order wants a call stopped, told again in other words than the code under test has."""

from consumer.model.calls import Call
from consumer.model.orders import Mode, OrderState, effective_mode
from consumer.model.scopes import ScopeKind
from tests.simulation.log import EPOCH
from tests.simulation.world import World

A_WHILE_SECONDS = 60.0


def is_wanted(world: World, call: Call, *, enforced: bool = False) -> bool:
    """Whether an order that is in force now, and will be for a while, covers the call's present episode."""
    now = EPOCH + world.loop.time()
    for record in world.oracle.book.aimed_at(call):
        since, until = record.since, record.until
        if record.state(now) is not OrderState.IN_FORCE or since is None or (until is not None and until - now < 60.0):
            continue
        if enforced and effective_mode(record.order, call.call_id, call.campaign_id) is not Mode.ENFORCE:
            continue
        named = record.order.scope.kind is ScopeKind.CALL and call.first_at == call.since
        if record.order.hold != 0.0 or named or call.since <= since:
            return True
    return False
