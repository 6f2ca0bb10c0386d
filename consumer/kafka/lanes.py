"""What waits to be written, a lane per partition: in order, let go of only once it is acknowledged. Nothing here blocks.

Every method that lets go of records gives their size in bytes, so that the producer can keep its bound.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.producer.message_accumulator import BatchBuilder

from consumer.kafka.errors import RecordTooLarge
from consumer.model.codec import VERSION

MAX_BATCH_BYTES = 262_144
MOST_RECORDS = 1_000_000
OVERHEAD_BYTES = 100
BACKOFF_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)

Headers = tuple[tuple[str, bytes], ...]
FORMAT: Headers = (("v", VERSION),)


class OutRecord(NamedTuple):
    """One record to be written. ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Headers = FORMAT

    @property
    def size_bytes(self) -> int:
        return len(self.key) + len(self.value or b"") + OVERHEAD_BYTES


@dataclass(slots=True, eq=False)
class Item:
    """Records of one partition that somebody waits for together; ``written`` of them are acknowledged."""

    records: Sequence[OutRecord]
    future: asyncio.Future[int]
    size_bytes: int
    written: int = 0


@dataclass(slots=True, eq=False)
class Flight:
    """A batch on its way: by which client, how many records of the lane's head it holds, since when."""

    client: object
    taken: int
    since: float


@dataclass(slots=True, eq=False)
class Lane:
    """One partition. Its head is in ``flight``, if anything is; after ``failures`` it waits until ``not_before``.

    ``most`` is how many records a batch may hold: Kafka refuses a batch as a whole, and does not say for which record.
    """

    topic: str
    partition: int
    items: deque[Item] = field(default_factory=deque)
    flight: Flight | None = None
    failures: int = 0
    not_before: float = 0.0
    most: int = MOST_RECORDS

    def fill(self, builder: BatchBuilder) -> int:
        """Put the first records into a batch until it is full; says how many."""
        taken = 0
        for item in self.items:
            for record in item.records[item.written :] if item.written else item.records:
                if taken == self.most:
                    builder.close()
                    return taken
                headers = list(record.headers)
                if builder.append(timestamp=None, key=record.key, value=record.value, headers=headers) is None:
                    return taken
                taken += 1
        builder.close()
        return taken

    def acknowledge(self, base_offset: int, taken: int) -> int:
        """Take the first ``taken`` records for written, from ``base_offset`` on; tells who has waited for all of theirs."""
        self.failures = 0
        self.most = min(self.most + self.most // 8 + 1, MOST_RECORDS)
        offset, freed = base_offset, 0
        while taken:
            item = self.items[0]
            here = min(taken, len(item.records) - item.written)
            item.written += here
            taken -= here
            offset += here
            if item.written == len(item.records):
                freed += self._finish()
                if not item.future.done():
                    item.future.set_result(offset - 1)
        return freed

    def refuse(self, error: BaseException, taken: int) -> int:
        """Send half of a batch that Kafka will never take, or give up what is first where it held nothing else."""
        if taken > 1:
            self.most = taken // 2
            return 0
        item = self.items[0]
        if not item.future.done():
            item.future.set_exception(RecordTooLarge(f"Kafka refuses a record of {item.size_bytes} bytes: {error}"))
        return self._finish()

    def put_off(self, now: float) -> None:
        """Wait a little before the next try, longer after each."""
        self.not_before = now + BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS) - 1)]
        self.failures += 1

    def drop_abandoned(self) -> int:
        """Let go of what nobody waits for any more; only what may go into the next batch needs looking at."""
        room = 2 * MAX_BATCH_BYTES
        for item in self.items:
            if item.future.done():
                return self._drop_done()
            room -= item.size_bytes
            if room < 0:
                break
        return 0

    def _drop_done(self) -> int:
        freed = sum(item.size_bytes for item in self.items if item.future.done())
        self.items = deque(item for item in self.items if not item.future.done())
        return freed

    def _finish(self) -> int:
        return self.items.popleft().size_bytes
