"""Everything there is in one run of one seed, and whether anything is left to do in it."""

from dataclasses import dataclass, field

from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from tests.simulation.faults import Faults
from tests.simulation.group import SimulatedGroup
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import VirtualLoop
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Plan
from tests.simulation.provider import SimulatedProvider
from tests.simulation.sender import Wire

QUIET_SECONDS = 3.2
"""Longer than the slowest pace: whoever had something to say has said it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that did not hold: which, and what was seen."""

    law: str
    what: str


@dataclass
class World:
    """Everything there is in one run of one seed."""

    seed: int
    plan: Plan
    loop: VirtualLoop
    log: SimulatedLog
    oracle: Oracle
    topics: Topics
    accounts: dict[str, Account]
    groups: dict[str, SimulatedGroup]
    faults: Faults
    provider: SimulatedProvider
    wire: Wire
    nodes: list[Node] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    trace: list[str] | None = None

    def blame(self, law: str, what: str) -> None:
        self.note("auditor", f"{law}: {what}")
        self.violations.append(Violation(law, what))

    def note(self, who: str, what: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.loop.time():9.3f}  {who:<10} {what}")

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: all runs, all is read, and every termination is over."""
        return (
            self.loop.time() >= self.plan.over_at
            and self.loop.time() - max(self.faults.last_touch_at, self.log.down_until) >= QUIET_SECONDS
            and not self.provider.busy
            and not self.wire.busy
            and all(node.running for node in self.nodes)
            and all(self._is_whole(role, group) for role, group in self.groups.items())
            and all(self._has_read_all(node) for node in self.nodes)
            and all(t.state.over for t in self.oracle.terminations.values())
        )

    def _is_whole(self, role: str, group: SimulatedGroup) -> bool:
        belong = sum(node.guards for node in self.nodes) if role == "guard" else len(self.nodes)
        return group.stable and len(group.members) == belong

    def _has_read_all(self, node: Node) -> bool:
        life = node.life
        if life.feed.next_offset < self.log.end((self.topics.stop_orders.name, 0)):
            return False
        return all(
            worker.ready and all(position == self.log.end(key) for key, position in reader.positions.items())
            for worker, reader in life.workers.values()
        )
