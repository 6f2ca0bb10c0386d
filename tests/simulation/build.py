"""Putting the world of a seed together."""

from dataclasses import replace
from random import Random

from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.provider import Provider
from handlers.providers.ringg import Ringg
from tests.simulation.disk import Disk
from tests.simulation.faults import Faults
from tests.simulation.group import SimulatedGroup
from tests.simulation.log import Entry, SimulatedLog
from tests.simulation.loop import VirtualLoop
from tests.simulation.machine import Machine, Surroundings
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Plan, plan_of
from tests.simulation.provider import SimulatedProvider
from tests.simulation.script import schedule, strike_at
from tests.simulation.sender import Stop, Wire
from tests.simulation.world import World


class CarefulRingg(Ringg):
    """A provider whose stop would hang up on a live call, so that its state is read right before."""

    name = "careful"
    capabilities = replace(Ringg.capabilities, look_before_stop=True, batch_limit=1, everything_spares_live=False)


PROVIDERS: dict[str, Provider] = {"ringg": Ringg(), "careful": CarefulRingg()}
PROVIDER_OF = {"acme": "ringg", "careful": "careful"}


def build(seed: int, plan: Plan | None = None, *, traced: bool = False) -> World:
    """Put the world of a seed together, with its own plan or a given one; nothing has happened in it yet."""
    plan = plan or plan_of(seed)
    loop = VirtualLoop(Random(f"schedule {seed}"), disorder=plan.disorder)  # type: ignore[abstract]
    topics = Topics.named(call_events=plan.call_partitions, scope_totals=1, terminations=len(plan.accounts), rejected=1)
    log = SimulatedLog(loop, topics.all())
    oracle = Oracle(topics)
    log.observe(oracle.fold)
    random = Random(f"world {seed}")
    accounts = {name: _account(name, plan) for name in plan.accounts}
    partitions = {
        "correlate": topics.call_events.partitions,
        "guard": topics.scope_totals.partitions,
        "terminate": topics.terminations.partitions,
    }
    groups = {role: SimulatedGroup(loop, random, count) for role, count in partitions.items()}
    faults = Faults(plan, loop, random, lambda process, strike, at: strike_at(world, process, strike, at))
    provider = SimulatedProvider(
        loop,
        log,
        random,
        faults=faults,
        topics=topics,
        accounts=accounts,
        providers=PROVIDERS,
        note=lambda who, what: world.note(who, what),  # noqa: PLW0108 -- there is no world yet
    )
    wire = Wire(loop, random, provider, faults, lambda stop: _hear(world, stop))
    world = World(seed, plan, loop, log, oracle, topics, accounts, groups, faults, provider, wire)
    around = Surroundings(loop, log, random, faults, groups, wire, topics, accounts, PROVIDERS, world.blame, world.note)
    if traced:
        world.trace = []
        log.observe(lambda entry: _show(world, entry))
    for n in range(plan.nodes):
        node = Node(
            Machine(f"node{n}", Disk(random, loses_power=plan.power), around), guards=plan.guards_everywhere or n == 0
        )
        world.nodes.append(node)
        loop.after(random.random() * 3.0 * n, loop.world, node.start)
    schedule(world, random)
    return world


def _hear(world: World, stop: Stop) -> None:
    world.note(stop.by, f"asks {stop.account} to stop {list(stop.call_ids) or stop.whole}")


def _show(world: World, entry: Entry) -> None:
    value = (entry.value or b"").decode()
    world.note(entry.by, f"→ {entry.topic}/{entry.partition}@{entry.offset} {value[:400]}")


def _account(name: str, plan: Plan) -> Account:
    return Account.model_validate(
        {
            "name": name,
            "provider": PROVIDER_OF[name],
            "api_key": f"key-of-{name}",
            "webhook": {"auth": {"type": "header", "name": "X-Webhook-Secret", "secret": "secret-of-some-length"}},
            "rate_limit": {"requests_per_second": plan.requests_per_second, "burst": 2},
            "confirm_within": "5s",
        }
    )
