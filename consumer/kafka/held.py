"""A partition that a worker holds: its shard, how far it has been read, and what of that is not saved yet."""

from asyncio import Future
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from consumer.kafka.reader import LogRecord
from consumer.kafka.shard import Shard


@dataclass(slots=True)
class Held:
    """A partition we hold: its shard, and how far it has been read."""

    shard: Shard
    committed: dict[str, int]
    ends: dict[str, int]
    next: dict[str, int] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    live: bool = False
    caught_up: bool = False
    unsaved: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    unsaved_records: int = 0
    writing: list[Future[list[int]]] = field(default_factory=list)

    def folded(self, topic: str, records: Sequence[LogRecord], writing: Future[list[int]] | None = None) -> None:
        """Note what has been folded, and that what follows from it is being written."""
        last = records[-1]
        self.next[topic] = last.offset + 1
        self.unsaved[topic, last.partition] = last.offset + 1, last.timestamp
        self.unsaved_records += len(records)
        if writing is not None:
            self.writing.append(writing)

    @property
    def all_written(self) -> bool:
        """Whether all that follows from what has been folded is acknowledged."""
        return all(one.done() and not one.cancelled() and one.exception() is None for one in self.writing)

    async def written(self) -> None:
        """Wait until all that follows from what has been folded is acknowledged; raises what kept it from being."""
        for one in self.writing:
            await one
        self.writing.clear()

    def save(self, saved: dict[tuple[str, int], int]) -> Generator[None, None, None]:
        """Save what has been folded, in one transaction; others may run at each step, but nothing may be folded meanwhile.

        All that follows from it must be written. The offsets that may be committed from then on are put into ``saved``. Where
        it fails or is given up, the shard may have forgotten what it was to save, so nothing tries it again.
        """
        unsaved, self.unsaved, self.unsaved_records = self.unsaved, {}, 0
        offsets = {key: following for key, (following, _) in unsaved.items()}
        with self.shard.view.transaction(offsets, {key: stamp for key, (_, stamp) in unsaved.items()}) as connection:
            while self.shard.save(connection):
                yield
        saved.update(offsets)

    def close(self) -> None:
        """Close the view. Who holds the partition next writes once more what is on its way."""
        for one in self.writing:
            one.cancel()
        self.shard.view.close()


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """How far one partition has been read: for readiness, metrics and the page."""

    partition: int
    position: int
    end: int
    live: bool
    caught_up: bool
