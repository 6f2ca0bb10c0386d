"""Fetching from partitions: late, in batches of any size, and not from all partitions at once."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

from consumer.kafka.reader import LogRecord
from tests.simulation.log import Key, SimulatedLog
from tests.simulation.loop import Process, VirtualLoop

FETCH_SECONDS = 0.02
SLOW_FETCH_SECONDS = 1.5


class Fetcher:
    """Fetches from some partitions for one process."""

    def __init__(
        self,
        loop: VirtualLoop,
        log: SimulatedLog,
        random: Random,
        process: Process,
        *,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> None:
        self._fetch_seconds = fetch_seconds
        self.positions: dict[Key, int] = {}
        self._process = process
        self._loop = loop
        self._log = log
        self._random = random
        self._arrived: asyncio.Future[None] | None = None
        self._followed: list[Key] = []

    def follow(self, positions: Mapping[Key, int]) -> None:
        """Read these partitions on from here, and nothing else."""
        self.stop()
        self.positions = dict(positions)
        self._followed = list(positions)
        for key in self._followed:
            self._log.follow(key, self.nudge)

    def stop(self) -> None:
        for key in self._followed:
            self._log.unfollow(key, self.nudge)
        self._followed = []
        self.positions = {}
        self.nudge()

    def nudge(self) -> None:
        """Let whoever waits look again, after the time that a fetch takes."""
        if self._arrived is not None:
            waiting, self._arrived = self._arrived, None
            chance = self._random.random()
            delay = chance * self._fetch_seconds if chance < 0.9 else self._random.random() * SLOW_FETCH_SECONDS
            self._loop.after(delay, self._process, _resolve, waiting)

    async def wait(self, seconds: float) -> None:
        """Wait until something may have come, at most so long."""
        self._arrived = waiting = self._loop.create_future()
        timer = self._loop.call_later(seconds, _resolve, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._arrived = None

    @property
    def ready(self) -> list[Key]:
        """The partitions in which there is more to read."""
        if self._log.down:
            return []
        return [key for key, position in self.positions.items() if position < self._log.end(key)]

    def take(self, max_records: int) -> dict[Key, Sequence[LogRecord]]:
        """Give what has come, or some of it."""
        ready = self.ready
        if len(ready) > 1 and self._random.random() < 0.5:
            ready = ready[int(self._random.random() * len(ready)) :]
        found: dict[Key, Sequence[LogRecord]] = {}
        for key in ready:
            position = self.positions[key]
            most = 1 + int(self._random.random() * 6) if self._random.random() < 0.5 else max_records
            records = self._log.partitions[key][position : position + most]
            self.positions[key] = position + len(records)
            found[key] = records
        return found


def _resolve(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
