"""What became of every termination: all partitions of ``terminations`` and ``termination-log`` in one ledger."""

import logging
from pathlib import Path

from consumer.kafka.connection import Connection
from consumer.kafka.ledger import SCHEMA, Ledger
from consumer.kafka.reader import TopicReader
from consumer.kafka.topics import Cluster, Topics
from consumer.kafka.view import View
from consumer.model.codec import CodecError, decode_termination_record

logger = logging.getLogger(__name__)

MAX_RECORDS = 1_000


class LedgerView:
    """Follows both topics for the console, which belongs to no group: every console knows everything."""

    def __init__(self, connection: Connection, topics: Topics, cluster: Cluster, path: Path) -> None:
        self.view = View(path, SCHEMA, cluster_id=cluster.cluster_id)
        self.ledger = Ledger(self.view.connection)
        self.changes = 0
        self.ready = False
        names = (topics.terminations, topics.termination_log)
        self._reader = TopicReader(connection, name="console", partitions={t.name: t.partitions for t in names})

    async def start(self) -> None:
        await self._reader.start(self.view.offsets)

    async def stop(self) -> None:
        await self._reader.stop()
        self.view.close()

    async def run(self) -> None:
        """Fold until cancelled."""
        bounds = await self._reader.bounds()
        position = {key: max(first, self.view.offsets.get(key, 0)) for key, (first, _) in bounds.items()}
        while True:
            if not self.ready:
                self.ready = all(position[key] >= end for key, (_, end) in bounds.items())
            fetched = await self._reader.poll(max_records=MAX_RECORDS, timeout_ms=500)
            if not fetched:
                continue
            for records in fetched.values():
                for record in records:
                    try:
                        self.ledger.fold(decode_termination_record(record.value))
                    except CodecError as error:
                        logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
            offsets = self._reader.position_after(fetched)
            with self.view.transaction(offsets) as connection:
                self.ledger.save(connection)
            position.update(offsets)
            self.changes += 1
