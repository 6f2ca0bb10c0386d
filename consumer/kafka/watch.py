"""Watches the reading of one role: tells how reading back goes, shows it in metrics, and ends what stands still.

A silent stall is the worst that can happen to this process: it looks alive, and stops nothing. So a stall is shown by
readiness first, and after ``watchdog.LIMIT_SECONDS`` it is an error that ends the role and the process, loudly.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from consumer.kafka import metrics
from consumer.kafka.errors import LogUnavailable, Stalled
from consumer.kafka.progress import Progress, Reading, ReadingBack
from consumer.kafka.watchdog import Key, Look, Stall, StallDetector

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
ENDS_EVERY = 2
TELL_EVERY_SECONDS = 5.0
SUSPECT_SHARE = 1 / 3


class Watched(Protocol):
    """A reading that can be watched; see ``watchdog.Look`` for the words."""

    @property
    def readings(self) -> Callable[[], Sequence[Reading]]: ...
    async def ends(self) -> Mapping[Key, int]: ...
    def look(self, ends: Mapping[Key, int] | None) -> Look: ...


class Watch:
    """``progress`` and ``trouble`` are for readiness and the page; ``run`` is a task of the service."""

    def __init__(self, name: str, watched: Watched, detector: StallDetector | None = None) -> None:
        self.name = name
        self.progress: Progress | None = None
        self.trouble: str | None = None
        self._watched = watched
        self._detector = detector or StallDetector()
        self._reading_back = ReadingBack(name)
        self._told_at = 0.0
        self._told = False
        self._shown: set[tuple[str, str, str]] = set()

    def reason(self, otherwise: str) -> Callable[[], str]:
        """Give what says why the role is not ready; ``otherwise`` where nothing more is known."""
        return lambda: self.trouble or (str(self.progress) if self.progress else otherwise)

    async def run(self) -> None:
        """Look every second until cancelled.

        Raises:
            Stalled: something has stood still for too long.

        """
        looks = 0
        while True:
            self._tell(self._watched.readings(), time.monotonic())
            if looks % ENDS_EVERY == 0:
                await self._look()
            looks += 1
            await asyncio.sleep(EVERY_SECONDS)

    async def _look(self) -> None:
        try:
            ends = await self._watched.ends()
        except LogUnavailable:
            ends = None
        look = self._watched.look(ends)
        self._show(look)
        stall = self._detector.observe(look, time.monotonic())
        if stall and stall.is_over:
            self.trouble = str(stall)
            raise Stalled(f"{self.name}: {stall}; it must start again")
        self._suspect(stall)

    def _suspect(self, stall: Stall | None) -> None:
        suspected = stall is not None and stall.seconds >= stall.limit_seconds * SUSPECT_SHARE
        if suspected and not self.trouble:
            logger.warning("%s: %s", self.name, stall)
        self.trouble = str(stall) if suspected else None

    def _tell(self, readings: Sequence[Reading], now: float) -> None:
        self.progress = self._reading_back.observe(readings, now)
        if self.progress is None:
            metrics.SECONDS_LEFT.labels(self.name).set(0)
            if self._told:
                logger.info("%s has read back in %.0f s", self.name, self._reading_back.took_seconds)
                self._told = False
            return
        left = self.progress.seconds_left
        metrics.SECONDS_LEFT.labels(self.name).set(float("nan") if left is None else left)
        if now - self._told_at >= TELL_EVERY_SECONDS:
            self._told_at, self._told = now, True
            logger.info("%s %s", self.name, self.progress)

    def _show(self, look: Look) -> None:
        """Set the gauges of what is read here, and take away those of what no longer is."""
        shown = set()
        for (topic, partition), position in look.positions.items():
            labels = (self.name, topic, str(partition))
            shown.add(labels)
            metrics.POSITION.labels(*labels).set(position)
            if look.ends is not None and (topic, partition) in look.ends:
                end = look.ends[topic, partition]
                metrics.END.labels(*labels).set(end)
                metrics.LAG.labels(*labels).set(max(0, end - position))
        for labels in self._shown - shown:
            for gauge in (metrics.POSITION, metrics.END, metrics.LAG):
                if labels in gauge._metrics:  # noqa: SLF001 -- remove() warns of what is not there
                    gauge.remove(*labels)
        self._shown = shown


class OwnReading:
    """The reading of whole topics without a group, to be watched: of stop orders, and of what became of terminations."""

    def __init__(
        self,
        readings: Callable[[], Sequence[Reading]],
        bounds: Callable[[], Awaitable[Mapping[Key, tuple[int, int]]]],
        waited_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.readings = readings
        self._bounds = bounds
        self._waited_seconds = waited_seconds

    async def ends(self) -> Mapping[Key, int]:
        return {key: end for key, (_, end) in (await self._bounds()).items()}

    def look(self, ends: Mapping[Key, int] | None) -> Look:
        positions = {(reading.topic, reading.partition): reading.position for reading in self.readings()}
        return Look(positions, ends, self._waited_seconds(), beat=sum(positions.values()))
