"""How long the event loop was blocked: a task that sleeps 5 ms again and again, and notes how much later it wakes."""

import asyncio
import time
from dataclasses import dataclass

TICK_SECONDS = 0.005
LONG_SECONDS = 0.05


@dataclass(slots=True)
class Ticker:
    """``late`` is the longest delay; ``busy`` the longest CPU time that the loop's thread used between two ticks.

    The delay has in it what the machine did meanwhile, the CPU time has not. ``often`` counts delays above 50 ms.
    """

    late: float = 0.0
    busy: float = 0.0
    often: int = 0

    async def run(self) -> None:
        while True:
            began, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            late = time.perf_counter() - began - TICK_SECONDS
            self.late = max(self.late, late)
            self.busy = max(self.busy, time.thread_time() - cpu)
            self.often += late > LONG_SECONDS

    def take(self) -> dict[str, float]:
        """Give what was noted since the last time, in seconds, and forget it."""
        noted = {"late": self.late, "busy": self.busy, "often": self.often}
        self.late, self.busy, self.often = 0.0, 0.0, 0
        return noted
