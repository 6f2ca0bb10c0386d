"""Webhooks that Kafka does not take in time, kept on this disk until it does (``http.spool``).

Some senders give up within seconds, and most within minutes, which a broker that dies or a network that fails takes easily.
What is kept here is on the disk before its sender is told so, and goes to Kafka, in order, as soon as that answers, also
after a restart. What was written and not yet struck off when a process died is written once more: it has the same event
id, so it is known for a duplicate.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from consumer.ingest import metrics
from consumer.ingest.spool_file import Kept, SpoolFile
from consumer.kafka.disk import remedy_of
from consumer.kafka.errors import LogUnavailable, RecordTooLarge
from consumer.kafka.only_here import first_free_file
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.topics import Topic

logger = logging.getLogger(__name__)

MOST_FLYING_BYTES = 32 * 1024 * 1024
DISK_SECONDS = 4.0
LOOK_EVERY_SECONDS = 0.02
RETRY_SECONDS = 1.0
T = TypeVar("T")


class _Arrived(NamedTuple):
    """Records that are to be kept together, and who waits for them to be on the disk."""

    records: Sequence[OutRecord]
    size_bytes: int
    kept: asyncio.Future[None]


class Spool:
    """Keeps records in a file, all of which go to Kafka in the end."""

    def __init__(self, file: SpoolFile, *, topics: Collection[Topic], most_bytes: int) -> None:
        """Go on with what the file holds.

        Args:
            file: which nobody else uses.
            topics: those whose records are kept.
            most_bytes: how much may be kept; 0 for nothing more than there is.

        """
        self._file = file
        self._topics = {topic.name: topic for topic in topics}
        self._most_bytes = most_bytes
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._behind: set[tuple[str, int]] = set()
        self._arrived: deque[_Arrived] = deque()
        self._arriving_bytes = self._flying_bytes = 0
        self._written: list[Kept] = []
        self._refused: list[Kept] = []
        self._arriving, self._there, self._answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if file.records:
            logger.warning("%d webhooks wait in %s since before: they go to Kafka now", file.records, file.path)
            self._there.set()
        metrics.SPOOL_BYTES.set_function(lambda: file.size_bytes)
        metrics.SPOOL_RECORDS.set_function(lambda: file.records)

    @property
    def has_room(self) -> bool:
        return self._file.size_bytes + self._arriving_bytes < self._most_bytes

    def takes(self, record: OutRecord) -> bool:
        """Whether a record is one of those that are kept here."""
        return self._most_bytes > 0 and record.topic in self._topics

    def is_behind(self, record: OutRecord) -> bool:
        """Whether the record's partition took nothing in time of late, so that nobody need wait for it now."""
        return record[:2] in self._behind

    def keep(self, records: Sequence[OutRecord]) -> asyncio.Future[None]:
        """Keep records of one partition, which did not take them in time.

        The future ends once they are on the disk, and fails with ``LogUnavailable`` where they cannot be.
        """
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] = loop.create_future()
        if not self.has_room:
            kept.set_exception(LogUnavailable(f"{self._file.path} holds as many webhooks as it may (http.spool)"))
            return kept
        if not self._behind:
            logger.warning("Kafka does not take webhooks in time: they are kept in %s until it does", self._file.path)
        self._behind.add(records[0][:2])
        size = sum(record.size_bytes for record in records)
        self._arriving_bytes += size
        self._arrived.append(_Arrived(records, size, kept))
        self._arriving.set()
        loop.call_later(DISK_SECONDS, self._give_up, kept)
        return kept

    async def run(self, producer: Producer) -> None:
        """Keep what comes, and write what is kept to Kafka; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(), name="spool")
            group.create_task(self._send(producer), name="spool to Kafka")
            group.create_task(self._strike_off(), name="spool in Kafka")

    def close(self) -> None:
        """Let the disk do what it was told; what is kept is there at the next start."""
        self._disk.shutdown(wait=True)
        if self._file.records:
            logger.warning("%d webhooks wait in %s for the next start", self._file.records, self._file.path)

    async def _keep(self) -> None:
        """Put onto the disk together what has arrived since the last time."""
        while True:
            await self._arriving.wait()
            self._arriving.clear()
            together, self._arrived = self._arrived, deque()
            records = [record for one in together for record in one.records]
            error: LogUnavailable | None = None
            try:
                await self._on_disk(partial(self._file.add, records))
            except sqlite3.Error as failed:
                error = LogUnavailable(f"{self._file.path} cannot be written ({failed}): {remedy_of(failed)}")
                self._behind.difference_update(record[:2] for record in records)  # then Kafka has to be tried
            else:
                metrics.SPOOLED.inc(len(records))
                self._there.set()
            self._arriving_bytes -= sum(one.size_bytes for one in together)
            for one in together:
                if one.kept.done():
                    continue
                if error:
                    one.kept.set_exception(error)
                else:
                    one.kept.set_result(None)

    async def _send(self, producer: Producer) -> None:
        """Hand what is kept to the producer, which tries for as long as it takes; a bounded part of it at a time."""
        after = 0
        while True:
            await self._there.wait()
            self._there.clear()
            while there := await self._on_disk_at_last(partial(self._file.read, after)):
                for kept in there:
                    after, record = kept
                    self._flying_bytes += record.size_bytes
                    producer.publish_all([self._placed(record)]).add_done_callback(partial(self._settle, kept))
                while self._flying_bytes >= MOST_FLYING_BYTES:
                    await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _settle(self, kept: Kept, sent: asyncio.Future[list[int]]) -> None:
        """Note what became of a record; what the producer gave up as it was closed goes there after the next start."""
        _, record = kept
        self._flying_bytes -= record.size_bytes
        error = asyncio.CancelledError() if sent.cancelled() else sent.exception()
        if error is None:
            self._written.append(kept)
        elif isinstance(error, RecordTooLarge):
            logger.error("%s keeps a webhook until the next start: %s; raise max.message.bytes", self._file.path, error)
            self._refused.append(kept)
        else:
            return
        self._behind.discard(record[:2])
        self._answered.set()

    async def _strike_off(self) -> None:
        """Let the file forget what is in Kafka, together what was acknowledged since the last time."""
        while True:
            await self._answered.wait()
            self._answered.clear()
            written, self._written, refused, self._refused = self._written, [], self._refused, []
            await self._on_disk_at_last(partial(self._file.strike_off, written, refused))
            if not self._file.records:
                logger.warning("every webhook that waited in %s is in Kafka", self._file.path)

    def _placed(self, record: OutRecord) -> OutRecord:
        """Give a record the partition of today: its topic may have been made again with more of them."""
        topic = self._topics.get(record.topic)
        return record._replace(partition=topic.partition_of(record.key)) if topic else record

    def _give_up(self, kept: asyncio.Future[None]) -> None:
        """Let nobody wait for a disk that stands still; what it was to keep it may keep all the same."""
        if not kept.done():
            kept.set_exception(
                LogUnavailable(f"{self._file.path} is not written in time: look after the disk of data_dir")
            )

    async def _on_disk_at_last(self, work: Callable[[], T]) -> T:
        """Do it as soon as the disk lets us: what it holds up meanwhile is written to Kafka twice at worst."""
        while True:
            try:
                return await self._on_disk(work)
            except sqlite3.Error as error:
                logger.error("%s cannot be used (%s): %s", self._file.path, error, remedy_of(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


@contextmanager
def spool_in(folder: Path, *, topics: Collection[Topic], most_bytes: int) -> Iterator[Spool | None]:
    """Open the spool of this process, with what others have left in the folder; None where nothing is, or may be, kept.

    Raises:
        SpoolUnusable: something around a file is wrong.

    """
    if not most_bytes and not any(folder.glob("*.sqlite")):
        yield None
        return
    with first_free_file(folder) as path, closing(SpoolFile(path)) as file:
        file.take_over_others()
        spool = Spool(file, topics=topics, most_bytes=most_bytes)
        try:
            yield spool
        finally:
            spool.close()
