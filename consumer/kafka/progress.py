"""How the reading back of a view goes: how much of it is done, and how long it will take at this pace."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PACE_SECONDS = 10.0
WORTH_TELLING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How far one partition has been read. ``begun``, ``position`` and ``end`` are next offsets.

    ``end`` is where the partition ended when it was begun: what has been written since is not part of reading it back.
    """

    topic: str
    partition: int
    begun: int
    position: int
    end: int

    @property
    def done(self) -> bool:
        return self.position >= self.end


@dataclass(frozen=True, slots=True)
class Progress:
    """What is left of reading back. ``partitions`` and ``records`` are done, of so many; ``seconds_left`` may be unknown."""

    role: str
    partitions: int
    of_partitions: int
    records: int
    of_records: int
    seconds_left: float | None

    @property
    def share(self) -> float:
        return self.records / self.of_records if self.of_records else 0.0

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "share": self.share}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Progress":
        """Read what ``as_json`` gave; raises ``KeyError``, ``TypeError`` and ``ValueError``."""
        left = value["seconds_left"]
        return cls(
            role=str(value["role"]),
            partitions=int(value["partitions"]),
            of_partitions=int(value["of_partitions"]),
            records=int(value["records"]),
            of_records=int(value["of_records"]),
            seconds_left=None if left is None else float(left),
        )

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        return (
            f"reading back: {self.partitions} of {self.of_partitions} partitions, {self.share:.0%}, "
            f"{self.records:,} of {self.of_records:,} events{left}"
        )


def together(parts: Iterable[Progress]) -> list[Progress]:
    """Add up what several processes read back, by role: the slowest says how long it takes."""
    found: dict[str, Progress] = {}
    for part in parts:
        known = found.get(part.role)
        found[part.role] = part if known is None else _sum(known, part)
    return list(found.values())


def _sum(a: Progress, b: Progress) -> Progress:
    left = None if a.seconds_left is None or b.seconds_left is None else max(a.seconds_left, b.seconds_left)
    partitions, of_partitions = a.partitions + b.partitions, a.of_partitions + b.of_partitions
    return Progress(a.role, partitions, of_partitions, a.records + b.records, a.of_records + b.of_records, left)


def duration(seconds: float) -> str:
    """Say roughly how long: 8 s, 3 min, 2 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6_000 else f"{round(seconds / 3_600)} h"


class ReadingBack:
    """Follows the reading back of one role; ``observe`` now and then, with what it reads and the monotonic time."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._since: float | None = None
        self._seen: deque[tuple[float, int]] = deque()
        self.took_seconds = 0.0
        self.progress: Progress | None = None

    def observe(self, readings: Sequence[Reading], now: float) -> Progress | None:
        """Give how it goes; None once all is read, and for as long as it is too short to be worth telling."""
        if all(reading.done for reading in readings):
            self._since, self.progress = None, None
            self._seen.clear()
            return None
        self._since = now if self._since is None else self._since
        self.took_seconds = now - self._since
        records = sum(min(reading.position, reading.end) - reading.begun for reading in readings)
        of_records = sum(reading.end - reading.begun for reading in readings)
        seconds_left = self._left(of_records - records, records, now)
        if self.took_seconds < WORTH_TELLING_SECONDS:
            return None
        partitions = {reading.partition for reading in readings}
        under_way = {reading.partition for reading in readings if not reading.done}
        self.progress = Progress(
            self._role, len(partitions - under_way), len(partitions), records, of_records, seconds_left
        )
        return self.progress

    def _left(self, left: int, records: int, now: float) -> float | None:
        """Reckon with the pace of the last seconds, and with none where the work was shared out anew meanwhile."""
        if self._seen and records < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, records))
        while now - self._seen[0][0] > PACE_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        return left * (now - then) / (records - before) if records > before else None
