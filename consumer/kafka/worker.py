"""The one component that every role with state runs on: records in, view and outputs out.

For every micro-batch: fold → write the outputs and wait for every acknowledgement → one SQLite transaction with rows and
offsets → commit the group's offset, at most once a second. A crash anywhere in between repeats work and loses none: what
is written again has the same id.

A partition whose view is behind the committed offset is folded silently up to it, since everything before has been said
already; from there it is live.
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Protocol

from consumer.kafka.errors import LogUnavailable
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.reader import GroupReader, LogRecord
from consumer.kafka.view import View

logger = logging.getLogger(__name__)

MAX_RECORDS = 500
SLICE_RECORDS = 25
POLL_MS = 200
WORK_EVERY_SECONDS = 0.25
COMMIT_EVERY_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Shard(Protocol):
    """What a role knows and does for one partition. All of it is synchronous; the worker does the I/O."""

    view: View

    @property
    def dirty(self) -> bool:
        """Whether ``save`` has anything to write."""
        ...

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        """Fold records of one topic; gives what is to be written, nothing while not ``live``."""
        ...

    def go_live(self, *, caught_up: bool) -> None:
        """Learn that silent replay is over; ``caught_up`` once everything that was there at the start is folded."""
        ...

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Do what needs no new record (orders that changed, timers); says whether more of it is left."""
        ...

    def save(self, connection: SqliteConnection) -> None:
        """Write what changed since the last save into the open transaction."""
        ...


@dataclass(slots=True)
class _Held:
    """A partition we hold: its shard, and how far it has been read."""

    shard: Shard
    committed: dict[str, int]
    ends: dict[str, int]
    next: dict[str, int] = field(default_factory=dict)
    live: bool = False
    caught_up: bool = False


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """How far one partition has been read: for readiness, metrics and the page."""

    partition: int
    position: int
    end: int
    live: bool
    caught_up: bool


class FoldingWorker:
    """Runs the shards of the partitions that the group gives us."""

    def __init__(
        self,
        *,
        name: str,
        reader: GroupReader,
        producer: Producer,
        topics: Sequence[str],
        open_shard: Callable[[int], Shard],
    ) -> None:
        self.name = name
        self.last_progress_at = time.monotonic()
        self._reader = reader
        self._producer = producer
        self._topics = tuple(topics)
        self._open_shard = open_shard
        self._held: dict[int, _Held] = {}
        self._generation = -1
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._uncommitted: dict[tuple[str, int], int] = {}
        self._committed_at = 0.0
        self._on_folded: Callable[[], None] = lambda: None

    def on_folded(self, listener: Callable[[], None]) -> None:
        """Be told (synchronously, briefly) whenever records have been folded and saved."""
        self._on_folded = listener

    def wake(self) -> None:
        """Ask for ``work`` at once instead of at the next quarter of a second."""
        self._wake.set()

    @property
    def shards(self) -> dict[int, Shard]:
        """The shards we hold now, by partition."""
        return {partition: held.shard for partition, held in self._held.items()}

    @property
    def ready(self) -> bool:
        """Whether the group has given us our share and all of it is read up to date."""
        return self._generation == self._reader.generation and all(held.caught_up for held in self._held.values())

    def status(self) -> list[PartitionStatus]:
        first = self._topics[0]
        return [
            PartitionStatus(partition, held.next.get(first, 0), held.ends.get(first, 0), held.live, held.caught_up)
            for partition, held in sorted(self._held.items())
        ]

    async def run(self) -> None:
        """Work until cancelled; an error in a shard or in the client ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._consume(), name=f"{self.name} consume")
                group.create_task(self._work(), name=f"{self.name} work")
        finally:
            self._close()

    async def drain(self) -> None:
        """Commit what has been folded; the last step before leaving."""
        await self._commit(force=True)

    async def _consume(self) -> None:
        while True:
            if self._reader.joined and self._generation != self._reader.generation:
                async with self._lock:
                    try:
                        await self._take_over()
                    except LogUnavailable as error:
                        logger.warning("%s cannot open its partitions yet: %s", self.name, error)
                        await asyncio.sleep(RETRY_SECONDS)
                        continue
            fetched = await self._reader.poll(max_records=MAX_RECORDS, timeout_ms=POLL_MS)
            if fetched:
                async with self._lock:
                    await self._handle(fetched)
            await self._commit()

    async def _work(self) -> None:
        more = False
        while True:
            if not more:
                await self._woken()
            self._wake.clear()
            async with self._lock:
                more = await self._work_once()
            await asyncio.sleep(0)

    async def _work_once(self) -> bool:
        """Let every live shard do its own work, with one round of writing for all; says whether more is left."""
        outputs: list[OutRecord] = []
        more = False
        live = [held for held in self._held.values() if held.live]
        for held in live:
            written, left = held.shard.work(time.time())
            outputs += written
            more = more or left
        await self._producer.publish_all(outputs)
        for held in live:
            if held.shard.dirty:
                with held.shard.view.transaction({}) as connection:
                    held.shard.save(connection)
        return more

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(WORK_EVERY_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _take_over(self) -> None:
        """Open what the group has given us, close what it has taken away, and read on from where each view is."""
        generation = self._reader.generation
        assigned = self._reader.assigned
        for partition in set(self._held) - assigned:
            self._held.pop(partition).shard.view.close()
        bounds = await self._reader.ends(assigned) if assigned else {}
        offsets: dict[tuple[str, int], int] = {}
        for partition in sorted(assigned):
            committed = {topic: await self._reader.committed(topic, partition) or 0 for topic in self._topics}
            held = self._held.get(partition)
            shard = held.shard if held else self._open_shard(partition)
            following: dict[str, int] = {}
            for topic in self._topics:
                first, _ = bounds[topic, partition]
                following[topic] = max(shard.view.offsets.get((topic, partition), 0), first)
                offsets[topic, partition] = following[topic]
            ends = {topic: bounds[topic, partition][1] for topic in self._topics}
            self._held[partition] = _Held(shard, committed, ends, following)
        if generation != self._reader.generation:
            return
        self._generation = generation
        if offsets:
            self._reader.open(offsets)
        for held in self._held.values():
            self._advance(held)
        logger.info("%s holds partitions %s", self.name, sorted(assigned))

    async def _handle(self, fetched: dict[tuple[str, int], Sequence[LogRecord]]) -> None:
        outputs: list[OutRecord] = []
        folded: dict[int, dict[tuple[str, int], int]] = {}
        for (topic, partition), records in fetched.items():
            held = self._held.get(partition)
            if held is None or not records:
                continue
            boundary = bisect_left(records, held.committed[topic], key=lambda record: record.offset)
            for part, live in _slices(records, boundary):
                outputs += held.shard.fold(part, live=live)
                await asyncio.sleep(0)  # heartbeats and webhooks get their turn, however slow a rule is
            held.next[topic] = records[-1].offset + 1
            folded.setdefault(partition, {})[topic, partition] = records[-1].offset + 1
        if outputs:
            await self._producer.publish_all(outputs)
        for partition, offsets in folded.items():
            held = self._held[partition]
            with held.shard.view.transaction(offsets) as connection:
                held.shard.save(connection)
            self._uncommitted.update(offsets)
            self._advance(held)
        self._on_folded()
        self.last_progress_at = time.monotonic()

    def _advance(self, held: _Held) -> None:
        """Let a shard go live once it has passed the committed offsets, and say when it has caught up."""
        live = all(held.next[topic] >= min(held.committed[topic], held.ends[topic]) for topic in self._topics)
        caught_up = live and all(held.next[topic] >= held.ends[topic] for topic in self._topics)
        if (live, caught_up) != (held.live, held.caught_up):
            held.live, held.caught_up = live, caught_up
            if live:
                held.shard.go_live(caught_up=caught_up)
                self.wake()

    async def _commit(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._uncommitted and (force or now - self._committed_at >= COMMIT_EVERY_SECONDS):
            offsets, self._uncommitted = self._uncommitted, {}
            self._committed_at = now
            await self._reader.commit(offsets)

    def _close(self) -> None:
        for held in self._held.values():
            held.shard.view.close()
        self._held.clear()


def _slices(records: Sequence[LogRecord], boundary: int) -> Iterable[tuple[Sequence[LogRecord], bool]]:
    """Cut a batch into small parts, each wholly before the boundary (not live) or wholly behind it (live)."""
    for start, end, live in ((0, boundary, False), (boundary, len(records), True)):
        for first in range(start, end, SLICE_RECORDS):
            yield records[first : min(first + SLICE_RECORDS, end)], live


def held_views(folder: Path) -> Iterable[int]:
    """The partitions of which a view lies in ``folder``: what a worker would like to get back."""
    return [int(path.stem) for path in folder.glob("*.sqlite") if path.stem.isdigit()]
