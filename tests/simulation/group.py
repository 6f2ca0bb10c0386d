"""A consumer group as the broker keeps it: members, generations, sessions, and offsets fenced by generation.

The protocol is the eager one: whoever hears that the group rebalances gives up everything and joins again. A member that
falls silent for a session is expelled; it learns of that only when it speaks again, and until then works on as a zombie.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from consumer.kafka.assignor import share_out
from tests.simulation.log import Key
from tests.simulation.loop import Process, VirtualLoop

SESSION_SECONDS = 9.0
HEARTBEAT_SECONDS = 2.0
UNNOTICED_SECONDS = SESSION_SECONDS - HEARTBEAT_SECONDS
"""So long a process may be frozen without the group missing it."""
REBALANCE_SECONDS = 12.0
JOIN_SECONDS = 0.2


class Listener(Protocol):
    """What a member is told, in its own process."""

    def revoked(self) -> None: ...
    def given(self, partitions: frozenset[int]) -> None: ...
    def held(self) -> list[int]: ...


@dataclass(eq=False)
class Member:
    """One member: ``generation`` is the one it believes to be in."""

    name: str
    node: str
    process: Process
    listener: Listener
    generation: int = -1


@dataclass
class SimulatedGroup:
    """The group of one role."""

    loop: VirtualLoop
    random: Random
    partitions: int
    generation: int = 0
    members: list[Member] = field(default_factory=list)
    committed: dict[Key, int] = field(default_factory=dict)
    rebalancing: bool = False
    _joined: list[Member] = field(default_factory=list)
    _round: int = 0

    @property
    def stable(self) -> bool:
        """Whether every member is in the present generation, and runs."""
        return not self.rebalancing and all(m.generation == self.generation and m.process.runs for m in self.members)

    def join(self, member: Member) -> None:
        """Take a member in, or in again."""
        if member not in self.members:
            self.members.append(member)
        if not self.rebalancing:
            self.rebalance()
        if member not in self._joined:
            self._joined.append(member)
        self._complete_if_all_joined()

    def leave(self, node: str) -> None:
        """Expel the member of a node that says so itself when it starts again."""
        for member in [m for m in self.members if m.node == node]:
            self._expel(member)

    def rebalance(self) -> None:
        """Begin a round: every member hears of it with its next heartbeat."""
        self.rebalancing = True
        self._joined = []
        self._round += 1
        for member in self.members:
            self._tell(member)
        self.loop.after(REBALANCE_SECONDS, self.loop.world, self._give_up_waiting, self._round)

    def fell_silent(self, process: Process) -> None:
        """Begin to count: a process that was killed or frozen sends no heartbeats."""
        for member in self.members:
            if member.process is process:
                self.loop.after(SESSION_SECONDS, self.loop.world, self._expire, member)

    def speaks_again(self, member: Member) -> None:
        """Let a member whose process was frozen hear, with its next heartbeat, what it has missed."""
        if member not in self.members or self.rebalancing:
            self._tell(member)

    def ask(self, member: Member, still_counts: Callable[[], None]) -> None:
        """Tell a member that asks, after a while, that it still counts; of anything else it hears by itself."""

        def answer() -> None:
            if member in self.members and member.generation == self.generation and not self.rebalancing:
                still_counts()

        self.loop.after(self.random.random() * JOIN_SECONDS, member.process, answer)

    def commit(self, member: Member, offsets: Mapping[Key, int]) -> bool:
        """Take offsets of a member of the present generation; says whether they were taken."""
        if member not in self.members or member.generation != self.generation:
            return False
        self.committed.update(offsets)
        return True

    def _tell(self, member: Member) -> None:
        self.loop.after(self.random.random() * HEARTBEAT_SECONDS, member.process, self._hears, member)

    def _hears(self, member: Member) -> None:
        if member in self._joined or not (self.rebalancing or member not in self.members):
            return
        member.listener.revoked()
        self.loop.after(self.random.random() * JOIN_SECONDS, self.loop.world, self._rejoin, member)

    def _rejoin(self, member: Member) -> None:
        if member.process.alive:
            self.join(member)

    def _expire(self, member: Member) -> None:
        if member in self.members and not member.process.runs:
            self._expel(member)

    def _expel(self, member: Member) -> None:
        self.members.remove(member)
        if member in self._joined:
            self._joined.remove(member)
        if not self.members:
            self.rebalancing = False
        elif not self.rebalancing:
            self.rebalance()
        else:
            self._complete_if_all_joined()

    def _give_up_waiting(self, number: int) -> None:
        if self.rebalancing and number == self._round:
            for member in [m for m in self.members if m not in self._joined]:
                self.members.remove(member)
            self._complete_if_all_joined()

    def _complete_if_all_joined(self) -> None:
        if not self.rebalancing or len(self._joined) < len(self.members) or not self.members:
            return
        self.rebalancing = False
        self.generation += 1
        shares = share_out(
            self.partitions,
            {member.name: frozenset(member.listener.held()) for member in self.members},
            {member.name: member.node for member in self.members},
        )
        for member in self.members:
            delay = self.random.random() * JOIN_SECONDS
            self.loop.after(delay, member.process, self._give, member, self.generation, frozenset(shares[member.name]))

    def _give(self, member: Member, generation: int, partitions: frozenset[int]) -> None:
        if member in self.members and generation == self.generation and not self.rebalancing:
            member.generation = generation
            member.listener.given(partitions)
