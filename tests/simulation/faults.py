"""Where a plan's faults strike: at the points where a process touches the world around it."""

from collections.abc import Callable
from random import Random

from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.plan import HEALED_AT, Plan, Strike


class Faults:
    """Counts what processes do with the world, and strikes when the plan says so. After ``HEALED_AT`` nothing strikes."""

    def __init__(
        self, plan: Plan, loop: VirtualLoop, random: Random, strike: Callable[[Process, Strike, str], None]
    ) -> None:
        self.plan = plan
        self._loop = loop
        self._random = random.random
        self._strike = strike
        self._count = 0
        self.last_touch_at = 0.0
        self._counts: dict[str, int] = {}
        self._left = list(plan.strikes)

    @property
    def healed(self) -> bool:
        return self._loop.time() >= HEALED_AT

    def chance(self, probability: float) -> bool:
        """Whether something goes wrong that does so with this probability."""
        return probability > 0.0 and not self.healed and self._random() < probability

    def orders_late(self) -> float:
        """How many seconds the next batch of orders comes late."""
        return 0.0 if self.healed else self._random() * self.plan.orders_late_seconds

    def touch(self, process: Process, what: str) -> None:
        """Note that ``process`` is at such a point; it may be dead or frozen when this returns."""
        self.last_touch_at = self._loop.time()
        if not self._left or self.healed or not process.alive:
            return
        self._count += 1
        self._counts[what] = of_this_kind = self._counts.get(what, 0) + 1
        for strike in self._left:
            if strike.n == (self._count if strike.touch is None else of_this_kind) and strike.touch in {None, what}:
                self._left.remove(strike)
                self._strike(process, strike, what)
                return
