"""Whether a reading stands still although there is something to read and Kafka answers. Pure; ``watch.py`` feeds it.

What counts is not the time that passes but the time in which the reading could have gone on: waiting for records while there
are some, or doing nothing at all between two polls. So a partition that waits its turn while others are folded is not
suspected, nor is anything while Kafka is down, while partitions move, or after the whole process stood still.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

LIMIT_SECONDS = 30.0
JOIN_LIMIT_SECONDS = 60.0
LONGEST_STEP_SECONDS = 5.0
"""A process that was stopped learns nothing from how long that was."""

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a reading at one time.

    ``waited_seconds`` only grows: the time spent waiting for records. ``beat`` changes whenever work gets further.
    ``ends`` is None while Kafka does not answer, or cannot take what would be written; ``epoch`` changes when partitions
    move; ``joined`` is False while the group has given us nothing to read.
    """

    positions: Mapping[Key, int]
    ends: Mapping[Key, int] | None
    waited_seconds: float
    beat: float
    epoch: Hashable = 0
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Stall:
    """What stands still, and for how long of the ``limit_seconds`` it may."""

    what: str
    seconds: float
    limit_seconds: float

    @property
    def is_over(self) -> bool:
        return self.seconds >= self.limit_seconds

    def __str__(self) -> str:
        return f"{self.what} for {self.seconds:.0f} s although Kafka answers"


class StallDetector:
    """``observe`` every second or two, with a monotonic time."""

    def __init__(self, limit_seconds: float = LIMIT_SECONDS, join_limit_seconds: float = JOIN_LIMIT_SECONDS) -> None:
        self._limit = limit_seconds
        self._join_limit = join_limit_seconds
        self._last: tuple[Look, float] | None = None
        self._starved: dict[Key, float] = {}
        self._idle = 0.0
        self._unjoined = 0.0

    def observe(self, look: Look, now: float) -> Stall | None:
        """Give what has stood still the longest, None where nothing has."""
        last, self._last = self._last, (look, now)
        if last is None or look.ends is None or last[0].ends is None or last[0].epoch != look.epoch:
            self._starved, self._idle = {}, 0.0
            self._unjoined = 0.0 if look.ends is None or look.joined else self._unjoined
            return None
        before, then = last
        step = min(now - then, LONGEST_STEP_SECONDS)
        waited = min(look.waited_seconds - before.waited_seconds, step)
        self._unjoined = 0.0 if look.joined else self._unjoined + step
        self._idle = self._idle + step if waited <= 0 and look.beat == before.beat else 0.0
        self._starved = {
            key: self._starved.get(key, 0.0) + waited
            for key, position in look.positions.items()
            if position != look.ends.get(key, position) and position == before.positions.get(key)
        }
        return max(self._stalls(look), key=lambda stall: stall.seconds / stall.limit_seconds, default=None)

    def _stalls(self, look: Look) -> list[Stall]:
        found = [Stall(_stands(key, look), seconds, self._limit) for key, seconds in self._starved.items() if seconds]
        if self._idle:
            found.append(Stall("neither folding nor reading has got any further", self._idle, self._limit))
        if self._unjoined:
            found.append(Stall("the group has given us no partitions", self._unjoined, self._join_limit))
        return found


def _stands(key: Key, look: Look) -> str:
    position, end = look.positions[key], (look.ends or {})[key]
    if position > end:
        return f"{key[0]}/{key[1]} is read up to {position}, beyond its end at {end},"
    return f"{key[0]}/{key[1]} stands at {position}, its end is {end},"
