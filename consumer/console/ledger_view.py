"""What became of every termination: all partitions of ``terminations`` and ``termination-log`` in one ledger."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.ledger import LISTED_SCHEMA, Ledger
from consumer.kafka.progress import Reading
from consumer.kafka.reader import LogRecord, TopicReader
from consumer.kafka.resume import Doubt, Following, Log, doubt
from consumer.kafka.termination_records import records_in
from consumer.kafka.topics import Cluster, Topics
from consumer.kafka.view import Offsets, View, log_thrown_away
from consumer.model.terminations import Record

logger = logging.getLogger(__name__)

MAX_RECORDS = 1_000
SLICE_CHANGES = 100
FORGETTING_STEPS = 20
POLL_MS = 500
RETRY_SECONDS = 0.5


class LedgerView:
    """Follows both topics for the console, which belongs to no group: every console knows everything."""

    def __init__(self, connection: Connection, topics: Topics, cluster: Cluster, path: Path) -> None:
        self._path = path
        self._cluster = cluster
        self.changes = 0
        self.ready = False
        names = (topics.terminations, topics.termination_log)
        self._keep_seconds = topics.termination_log.retention_seconds
        self._partitions = {topic.name: topic.partitions for topic in names}
        self.reader = TopicReader(connection, name="console", partitions=self._partitions)
        self._following = Following(self.reader.some_bounds)
        self._begun: dict[tuple[str, int], int] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._open()

    def _open(self) -> None:
        self.view = View(self._path, LISTED_SCHEMA, cluster_id=self._cluster.cluster_id)
        self.ledger = Ledger(self.view.connection, listed=True, keep_seconds=self._keep_seconds)

    async def start(self) -> None:
        await self.reader.start()

    async def stop(self) -> None:
        await self.reader.stop()
        self.view.close()

    def readings(self) -> list[Reading]:
        """How far each partition has been read, of what was there when it was begun."""
        return [
            Reading(*key, begun=self._begun[key], position=following, end=self._ends[key])
            for key, following in self._next.items()
        ]

    @property
    def incomplete(self) -> str | None:
        """Why what the ledger says is less than there is; None once all of the log has been read."""
        if self.ready:
            return None
        left = sum(max(0, reading.end - reading.position) for reading in self.readings())
        to_go = f", {left:,} records to go" if left else ""
        return f"the log of terminations is still being read{to_go}: some are missing, and counts are too low"

    async def run(self) -> None:
        """Fold until cancelled."""
        while True:
            try:
                await self._resume()
                while await self._read_on():
                    self.ready = self.ready or self._caught_up()
            except LogUnavailable as error:
                logger.warning("the console waits for Kafka: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def _caught_up(self) -> bool:
        return not self._following.unsure(self._next) and all(self._next[key] >= end for key, end in self._ends.items())

    async def _resume(self) -> None:
        """Go on from where the view is, or from the start where it cannot be gone on with."""
        self.ready = False
        log = Log(await self.reader.topic_ids(), await self.reader.bounds())
        if found := doubt(self.view, log):
            self._throw_away(found)
        offsets = self._following.start(self.view, log)
        self._next = {key: self.view.offsets[key] for key in log.bounds}
        self._begun = dict(self._next)
        self._ends = {key: end for key, (_, end) in log.bounds.items()}
        self.reader.seek(offsets)

    async def _read_on(self) -> bool:
        """Fold what has come; False where it does not follow on the view, which is thrown away then."""
        fetched = await self.reader.poll(max_records=MAX_RECORDS, timeout_ms=POLL_MS)
        good, bad = await self._following.check(fetched)
        for found in bad.values():
            self._throw_away(found)
            return False
        if good:
            await self._fold(good)
        if self.ready:
            await self._forget()
        return True

    async def _fold(self, fetched: dict[tuple[str, int], Sequence[LogRecord]]) -> None:
        """Fold and save, a part at a time: a record may tell of a hundred calls, and there may be a thousand of them."""
        changes: list[Record] = []
        for record in chain.from_iterable(fetched.values()):
            changes += records_in(record)
            if len(changes) >= SLICE_CHANGES:
                await self._fold_some(changes)
                changes = []
        await self._fold_some(changes)
        offsets = self.reader.position_after(fetched)
        stamps = {key: records[-1].timestamp for key, records in fetched.items()}
        await self._save(offsets, stamps)
        self._next.update(offsets)
        self.changes += 1

    async def _forget(self) -> None:
        """Forget some of what the log has forgotten; what is more goes after the next records."""
        for _ in range(FORGETTING_STEPS):
            if not self.ledger.forget(self.view.log_time):
                break
            await asyncio.sleep(0)
        if self.ledger.forgetting:
            await self._save({}, {})

    async def _save(self, offsets: Offsets, stamps: Offsets) -> None:
        with self.view.transaction(offsets, stamps) as connection:
            while self.ledger.save(connection):
                await asyncio.sleep(0)

    async def _fold_some(self, changes: Sequence[Record]) -> None:
        self.ledger.load(change.termination_id for change in changes)
        for change in changes:
            self.ledger.fold(change)
        await asyncio.sleep(0)

    def _throw_away(self, found: Doubt) -> None:
        log_thrown_away(self._path, str(found))
        self.view.discard()
        self._open()
