"""The simulated broker: topics in memory, timestamps from the virtual clock, groups with their committed offsets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topic
from tests.simulation.loop import VirtualLoop

EPOCH = 1_800_000_000.0
"""Where the virtual clock's zero lies, in seconds since the epoch."""

Key = tuple[str, int]


class Entry(NamedTuple):
    """A record as readers get it; ``by`` names who wrote it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    by: str


class SimulatedLog:
    """Partitions that only grow. While it is down nothing is read, written or committed."""

    def __init__(self, loop: VirtualLoop, topics: Sequence[Topic]) -> None:
        self._loop = loop
        self.partitions: dict[Key, list[Entry]] = {
            (topic.name, partition): [] for topic in topics for partition in range(topic.partitions)
        }
        self.down_until = 0.0
        self._readers: dict[Key, list[Callable[[], None]]] = {}
        self._observers: list[Callable[[Entry], None]] = []

    @property
    def down(self) -> bool:
        return self._loop.time() < self.down_until

    @property
    def seconds_down(self) -> float:
        """How long it will still be down."""
        return max(0.0, self.down_until - self._loop.time())

    def observe(self, observer: Callable[[Entry], None]) -> None:
        """Show every record to somebody outside of the world, as it is written."""
        self._observers.append(observer)

    def follow(self, key: Key, arrived: Callable[[], None]) -> None:
        self._readers.setdefault(key, []).append(arrived)

    def unfollow(self, key: Key, arrived: Callable[[], None]) -> None:
        self._readers[key].remove(arrived)

    def end(self, key: Key) -> int:
        return len(self.partitions[key])

    def append(self, records: Sequence[OutRecord], by: str) -> int:
        """Write a batch of one partition; gives the offset of its last record."""
        key = records[0].topic, records[0].partition
        entries = self.partitions[key]
        now = int((EPOCH + self._loop.time()) * 1_000)
        for record in records:
            offset = len(entries)
            entry = Entry(*key, offset, now, record.key, record.value, by)
            entries.append(entry)
            for observe in self._observers:
                observe(entry)
        for arrived in tuple(self._readers.get(key, ())):
            arrived()
        return len(entries) - 1
