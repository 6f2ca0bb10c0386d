"""What became of every termination: all partitions of ``terminations`` and ``termination-log`` in one ledger."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.ledger import LISTED_SCHEMA, Ledger
from consumer.kafka.progress import Reading
from consumer.kafka.reader import LogRecord, TopicReader
from consumer.kafka.resume import Doubt, Following, Log, doubt
from consumer.kafka.topics import Cluster, Topics
from consumer.kafka.view import View, log_thrown_away
from consumer.model.codec import CodecError
from consumer.model.termination_codec import decode_termination_records

logger = logging.getLogger(__name__)

MAX_RECORDS = 1_000
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
        self._partitions = {topic.name: topic.partitions for topic in names}
        self.reader = TopicReader(connection, name="console", partitions=self._partitions)
        self._following = Following(self.reader.some_bounds)
        self._begun: dict[tuple[str, int], int] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._open()

    def _open(self) -> None:
        self.view = View(self._path, LISTED_SCHEMA, cluster_id=self._cluster.cluster_id)
        self.ledger = Ledger(self.view.connection, listed=True)

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
            self._fold(good)
        return True

    def _fold(self, fetched: dict[tuple[str, int], Sequence[LogRecord]]) -> None:
        for records in fetched.values():
            for record in records:
                try:
                    for change in decode_termination_records(record.value):
                        self.ledger.fold(change)
                except CodecError as error:
                    logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
        offsets = self.reader.position_after(fetched)
        stamps = {key: records[-1].timestamp for key, records in fetched.items()}
        with self.view.transaction(offsets, stamps) as connection:
            while self.ledger.save(connection):
                pass
        self._next.update(offsets)
        self.changes += 1

    def _throw_away(self, found: Doubt) -> None:
        log_thrown_away(self._path, str(found))
        self.view.discard()
        self._open()
