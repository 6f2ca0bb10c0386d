"""What happens to a world because its plan says so: orders, outages, rebalances, clocks that jump, strikes."""

from random import Random

from consumer.kafka.order_feed import fact_record, order_record
from consumer.model.orders import Author, Fact, FactKind, StopOrder
from consumer.model.scopes import Scope, ScopeKind
from tests.simulation.loop import Process
from tests.simulation.node import Node
from tests.simulation.plan import FREEZE, LOST, OLDER, ONE_LOST, ORDERS_LOST, OrderPlan, Strike
from tests.simulation.world import World

OPERATOR = Author("operator", "ops")


def schedule(world: World, random: Random) -> None:
    loop, plan = world.loop, world.plan
    for order in plan.orders:
        loop.after(order.at, loop.world, _write_order, world, order)
    for at, seconds in plan.outages:
        loop.after(at, loop.world, _take_down, world, seconds)
    for at in plan.rebalances:
        loop.after(at, loop.world, _rebalance, world)
    for at, jump in plan.clocks:
        loop.after(at, loop.world, _set_clock, world, world.nodes[int(random.random() * plan.nodes)], jump)


def _write_order(world: World, plan: OrderPlan) -> None:
    scope = {
        ScopeKind.CAMPAIGN: lambda: Scope.campaign(plan.target),
        ScopeKind.NUMBER: lambda: Scope.numbers([plan.target]),
        ScopeKind.CALL: lambda: Scope.calls([plan.target]),
    }[plan.kind]()
    order = StopOrder(
        order_id=plan.order_id,
        account=plan.account,
        scope=scope,
        reason="because",
        by=OPERATOR,
        reach=plan.reach,
        hold=plan.hold,
        mode=plan.mode,
        lane=plan.lane,
    )
    world.log.append([order_record(world.topics.stop_orders, order)], "operator")
    if plan.released_at is not None:
        world.loop.after(plan.released_at - plan.at, world.loop.world, _release, world, plan.order_id)


def _release(world: World, order_id: str) -> None:
    fact = Fact(order_id, FactKind.RELEASED, OPERATOR, "enough")
    world.log.append([fact_record(world.topics.stop_orders, fact)], "operator")


def _take_down(world: World, seconds: float) -> None:
    world.log.down_until = world.loop.time() + seconds
    world.note("broker", f"is down for {seconds:.1f} s")


def _rebalance(world: World) -> None:
    for group in world.groups.values():
        if group.members and not group.rebalancing:
            group.rebalance()


def _set_clock(world: World, node: Node, jump: float) -> None:
    node.machine.clock_off_by += jump
    world.note(node.machine.name, f"its clock jumps by {jump} s")


def strike_at(world: World, process: Process, strike: Strike, at: str) -> None:
    node = next(node for node in world.nodes if node.lives and node.life.process is process)
    world.note(process.name, f"{strike.kind} at: {at}; for {strike.seconds} s, views {strike.views}")
    loop = world.loop
    if strike.kind == FREEZE:
        loop.freeze(process)
        node.fell_silent(process)
        loop.after(strike.seconds, loop.world, _thaw, world, node, process, strike.seconds)
        return
    node.crash(process)
    if strike.views == OLDER:
        node.machine.disk.fall_back()
    elif strike.views == LOST:
        node.machine.disk.lose()
    elif strike.views == ONE_LOST:
        node.machine.disk.lose_one()
    elif strike.views == ORDERS_LOST:
        node.machine.disk.lose_role("orders")
    loop.after(strike.seconds, loop.world, node.start)


def _thaw(world: World, node: Node, process: Process, seconds: float) -> None:
    if not process.alive:
        return
    world.note(process.name, "runs on")
    world.loop.thaw(process)
    for role, (_, reader) in node.life.workers.items():
        reader.stood_still(seconds)
        world.groups[role].speaks_again(reader.member)
