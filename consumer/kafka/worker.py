"""The one component that every role with state runs on: records in, view and outputs out.

Records are folded, and what follows from them is written, while more is folded already. Once every acknowledgement is there:
one SQLite transaction with rows and offsets → commit the group's offset, at most once a second, and more seldom while much
waits to be read. A crash anywhere in between repeats work and loses none: what is written again has the same id.

A partition whose view is behind the committed offset is folded silently up to it, since everything before has been said
already; from there it is live.
"""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from sqlite3 import DatabaseError

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.held import Held, PartitionStatus
from consumer.kafka.opening import Opening
from consumer.kafka.pace import DEFAULT_PACE, Pace
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.progress import Reading
from consumer.kafka.reader import GroupReader, LogRecord
from consumer.kafka.resume import Following, Log
from consumer.kafka.saving import Saving
from consumer.kafka.shard import Shard
from consumer.kafka.slices import Slices
from consumer.kafka.view import discard_damaged
from consumer.kafka.watchdog import Look

logger = logging.getLogger(__name__)

__all__ = ["FoldingWorker", "PartitionStatus", "Shard"]

MAX_RECORDS, BEHIND_RECORDS = 2_000, 500
"""What is handed over at once at most, and how much of it tells that more is waiting."""
ROUND_RECORDS = 1_000
AHEAD_BYTES = 4 * 1024 * 1024
"""While so much waits to be written, no more is folded."""
POLL_MS, UNSETTLED_POLL_MS = 200, 20
RETRY_SECONDS = 0.5


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
        clock: Clock = SYSTEM_CLOCK,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """Prepare a worker.

        Args:
            name: the role.
            reader: gives us partitions and their records.
            producer: writes what the shards say.
            topics: those that ``reader`` reads.
            open_shard: opens the shard of a partition, with its view.
            clock: tells the time.
            pace: how often the shards work and are saved.

        """
        self.name = name
        self._clock = clock
        self._pace = pace
        self.last_progress_at = clock.monotonic()
        self._reader = reader
        self._producer = producer
        self._topics = tuple(topics)
        self._following = Following(reader.bounds)
        self._opening = Opening(open_shard)
        self._held: dict[int, Held] = {}
        self._saving = Saving(self._held, reader, producer, clock)
        self._generation = -1
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._behind = False
        self._slices = Slices()
        self._turn = 0
        self._midway = False
        self._on_folded: Callable[[], None] = lambda: None

    def on_folded(self, listener: Callable[[], None]) -> None:
        """Be told (synchronously, briefly) whenever records have been folded and saved."""
        self._on_folded = listener

    def give_way(self, pressing: Callable[[], bool]) -> None:
        """Rest a little between two steps of folding and saving while ``pressing`` says that others may not wait."""
        self._saving.pressing = pressing

    def wake(self) -> None:
        """Ask for ``work`` at once instead of at the next quarter of a second."""
        self._wake.set()

    @property
    def shards(self) -> dict[int, Shard]:
        """The shards we hold now, by partition."""
        return {partition: held.shard for partition, held in self._held.items()}

    @property
    def settled(self) -> bool:
        """Whether what we hold is what the group has given us, with no rebalance under way."""
        return self._generation == self._reader.generation

    @property
    def ready(self) -> bool:
        """Whether the group has given us our share and all of it is read up to date."""
        return self.settled and all(held.caught_up for held in self._held.values())

    def status(self) -> list[PartitionStatus]:
        first = self._topics[0]
        return [
            PartitionStatus(partition, held.next.get(first, 0), held.ends.get(first, 0), held.live, held.caught_up)
            for partition, held in sorted(self._held.items())
        ]

    def readings(self) -> list[Reading]:
        """How far each partition has been read, of what was there when it was taken over."""
        return [
            Reading(topic, partition, held.begun[topic], held.next[topic], held.ends[topic])
            for partition, held in sorted(self._held.items())
            for topic in self._topics
        ]

    async def ends(self) -> Mapping[tuple[str, int], int]:
        """Ask Kafka how far the log goes: of what we hold, and of one partition in any case, to see that it answers."""
        keys = [(topic, partition) for topic in self._topics for partition in self._held] or [(self._topics[0], 0)]
        return {key: end for key, (_, end) in (await self._reader.bounds(keys)).items()}

    def look(self, ends: Mapping[tuple[str, int], int] | None) -> Look:
        """What the watchdog sees; while nothing can be written, standing still is no wonder."""
        return Look(
            {(topic, partition): n for partition, held in self._held.items() for topic, n in held.next.items()},
            None if self._producer.failing else ends,
            self._reader.waited_seconds,
            self.last_progress_at,
            epoch=(self._generation, self._reader.generation),
            joined=self._reader.joined,
        )

    async def run(self) -> None:
        """Work until cancelled; an error in a shard or in the client ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._consume(), name=f"{self.name} consume")
                group.create_task(self._work(), name=f"{self.name} work")
        except* DatabaseError as errors:
            discard_damaged([held.shard.view for held in self._held.values()], errors)
            raise
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
            try:
                timeout_ms = POLL_MS if self.settled else UNSETTLED_POLL_MS
                fetched = await self._reader.poll(max_records=MAX_RECORDS, timeout_ms=timeout_ms)
                self._behind = sum(map(len, fetched.values())) >= BEHIND_RECORDS
            except LogUnavailable as error:
                logger.warning("%s cannot read on yet: %s", self.name, error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            async with self._lock:
                fetched = await self._following_on(fetched) if fetched else await self._pass_empty_offsets()
                if fetched:
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
        """Let live shards do their own work, until much is to be written; says whether more is left.

        Each round begins with those that have waited longest, so that a large scope moves on in all partitions alike.
        """
        outputs: list[OutRecord] = []
        more = False
        worked: list[Held] = []
        turn_began = self._clock.monotonic()
        self._midway = True
        for partition, held in sorted(self._held.items(), key=lambda item: (item[0] < self._turn, item[0])):
            if not (held.live and self.settled):
                continue
            if len(outputs) >= ROUND_RECORDS:
                self._turn, more = partition, True
                break
            if held.unsaved and held.shard.looks_into_rows(self._clock.now()):
                await self._saving.save(held)
            written, left = held.shard.work(self._clock.now())
            worked.append(held)
            outputs += written
            more = more or left
            if self._clock.monotonic() - turn_began >= self._pace.turn_seconds:
                await asyncio.sleep(0)
                turn_began = self._clock.monotonic()
        await self._producer.publish_all(outputs)
        self._midway = False
        for held in worked:
            if held.shard.dirty and not held.unsaved:
                await self._saving.save(held)
        self.last_progress_at = self._clock.monotonic()
        return more

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(self._pace.work_every_seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _take_over(self) -> None:
        """Open what the group has given us, close what it has taken away, and read on from where each view is."""
        generation = self._reader.generation
        assigned = self._reader.assigned
        await self._saving.save_all()
        for partition in set(self._held) - assigned:
            self._held.pop(partition).close()
        self._opening.keep(assigned)
        ids = await self._reader.topic_ids(self._topics) if assigned else {}
        said = {t: await self._reader.committed(t, sorted(assigned)) if assigned else {} for t in self._topics}
        # The ends are asked for last, so that none of them is before what was committed meanwhile.
        bounds = await self._reader.ends(assigned) if assigned else {}
        offsets: dict[tuple[str, int], int] = {}
        for partition in sorted(assigned):
            log = Log(ids, {(topic, partition): bounds[topic, partition] for topic in self._topics})
            held = self._held.pop(partition, None)
            shard, committed = self._opening.open(
                partition,
                held.shard if held else None,
                {topic: of.get(partition, 0) for topic, of in said.items()},
                log,
            )
            offsets |= self._following.start(shard.view, log)
            ends = {topic: bounds[topic, partition][1] for topic in self._topics}
            following = {topic: shard.view.offsets[topic, partition] for topic in self._topics}
            self._held[partition] = Held(shard, committed, ends, following, dict(following))
            await asyncio.sleep(0)  # opening a file takes milliseconds, and there may be many
        if generation != self._reader.generation:
            return
        self._generation = generation
        self._saving.keep(assigned)
        if offsets:
            self._reader.open(offsets)
        for held in self._held.values():
            self._advance(held)
        logger.info("%s holds partitions %s", self.name, sorted(assigned))

    async def _following_on(
        self, fetched: dict[tuple[str, int], Sequence[LogRecord]]
    ) -> dict[tuple[str, int], Sequence[LogRecord]]:
        """Give what follows on what has been folded. Views that something else follows on are built again."""
        try:
            good, bad = await self._following.check(fetched)
        except LogUnavailable as error:
            logger.warning("%s reads again what it cannot be sure of: %s", self.name, error)
            self._generation = -1
            return {}
        for (_, partition), found in bad.items():
            self._generation = -1
            if held := self._held.pop(partition, None):
                self._opening.throw_away(partition, held.shard, found)
        for held in self._held.values():
            if not held.caught_up:
                self._advance(held)
        return {} if bad else good

    async def _pass_empty_offsets(self) -> dict[tuple[str, int], Sequence[LogRecord]]:
        """Pass offsets that no longer hold a record, as compaction leaves them at the end of a partition."""
        for partition, held in self._held.items():
            for topic in self._topics:
                if not self.settled or held.next[topic] >= held.ends[topic]:
                    continue
                position = await self._reader.position(topic, partition)
                if position is not None and position > held.next[topic] and self.settled:
                    held.next[topic] = position
                    self._following.passed((topic, partition), position)
                    self._advance(held)
        return {}

    async def _handle(self, fetched: dict[tuple[str, int], Sequence[LogRecord]]) -> None:
        """Fold what was fetched, and save where it is time."""
        touched: dict[int, Held] = {}
        for (topic, partition), records in fetched.items():
            held = self._held.get(partition)
            if held is not None and records:
                touched[partition] = held
                await self._fold(held, topic, records)
        for held in touched.values():
            if self._pace.saves(held):
                await self._saving.save(held)
            elif self._producer.pending_bytes >= AHEAD_BYTES:
                await held.written()
            self._advance(held)
        self._on_folded()
        self.last_progress_at = self._clock.monotonic()

    async def _fold(self, held: Held, topic: str, records: Sequence[LogRecord]) -> None:
        """Fold records of one partition. What follows from them is on its way while more is folded, until all is saved."""
        boundary = bisect_left(records, held.committed[topic], key=lambda record: record.offset)
        for part, live in self._slices.of(records, boundary):
            began = self._clock.monotonic()
            self._midway = True
            outputs = held.shard.fold(part, live=live)
            held.folded(topic, part, self._producer.publish_all(outputs) if outputs else None)
            self._midway = False
            self.last_progress_at = self._clock.monotonic()
            self._slices.fit(self.last_progress_at - began)
            await self._saving.let_others()  # heartbeats and webhooks get their turn, however slow a rule is
            if held.shard.urgent:
                await self._saving.save(held)

    def _advance(self, held: Held) -> None:
        """Let a shard go live once it has passed the committed offsets, and say when it has caught up."""
        sure = not self._following.unsure(held.shard.view.offsets)
        live = sure and all(held.next[topic] >= min(held.committed[topic], held.ends[topic]) for topic in self._topics)
        caught_up = live and all(held.next[topic] >= held.ends[topic] for topic in self._topics)
        if (live, caught_up) != (held.live, held.caught_up):
            held.live, held.caught_up = live, caught_up
            if live:
                held.shard.go_live(caught_up=caught_up)
                self.wake()

    async def _commit(self, *, force: bool = False) -> None:
        if not (force or self._saving.is_due(behind=self._behind)):
            return
        for partition in list(self._held):
            async with self._lock:  # an order that comes in between need not wait for all of them
                held = self._held.get(partition)
                if held and held.unsaved and self.settled and (held.live or force):
                    await self._saving.save(held)
        async with self._lock:
            if self._held and not self.settled:
                return  # what is ours has to be known before all that it holds back can be said
            await self._saving.say_the_rest(held for held in self._held.values() if held.live and self.settled)
        await self._saving.commit()

    def _close(self) -> None:
        try:
            self._saving.finish(midway=self._midway)
        finally:
            for held in self._held.values():
                held.close()
            self._held.clear()
