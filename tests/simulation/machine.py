"""What stays while processes come and go: the machine with its disk and its clock, and the world around it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from consumer.kafka.clock import Clock
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.provider import Provider
from tests.simulation.disk import Disk
from tests.simulation.faults import Faults
from tests.simulation.group import SimulatedGroup
from tests.simulation.log import EPOCH, SimulatedLog
from tests.simulation.loop import VirtualLoop
from tests.simulation.sender import Wire


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every process of a world has around it. ``blame`` takes a law and how it was broken, ``note`` who did what."""

    loop: VirtualLoop
    log: SimulatedLog
    random: Random
    faults: Faults
    groups: Mapping[str, SimulatedGroup]
    wire: Wire
    topics: Topics
    accounts: Mapping[str, Account]
    providers: Mapping[str, Provider]
    blame: Callable[[str, str], None]
    note: Callable[[str, str], None]


@dataclass
class Machine:
    """One machine. ``clock_off_by`` is how far its wall clock is from the broker's, in seconds."""

    name: str
    disk: Disk
    around: Surroundings
    clock_off_by: float = 0.0

    def now(self) -> float:
        return EPOCH + self.around.loop.time() + self.clock_off_by

    @property
    def clock(self) -> Clock:
        return Clock(now=self.now, monotonic=self.around.loop.time)
