"""What this process can say of the calls whose partitions it holds, and when it must not say anything.

A partition answers only while the group says it is ours and its view has read what was there when it was opened. That a
call is unknown is said only once the view has passed the end that the log had when the question came.
"""

import asyncio
import time
from collections.abc import Iterator

from consumer.correlate.shard import CorrelateShard
from consumer.kafka.errors import NotCaughtUp, NotHeld
from consumer.kafka.reader import GroupReader
from consumer.kafka.topics import Topics
from consumer.kafka.worker import FoldingWorker, PartitionStatus
from consumer.model.calls import Call

CATCH_UP_SECONDS = 1.0
LOOK_EVERY_SECONDS = 0.02


class CallQueries:
    """Questions to one correlate worker."""

    def __init__(self, worker: FoldingWorker, reader: GroupReader, topics: Topics) -> None:
        self._worker = worker
        self._reader = reader
        self._topics = topics

    async def find(self, account: str, call_id: str) -> Call | None:
        """Give a call as it is folded now; None where the log, as it was when this was asked, does not know of it.

        Raises:
            NotHeld: another process holds its partition, or it is moving.
            NotCaughtUp: its partition is held here, but still being read.
            LogUnavailable: Kafka does not say how far the log goes.

        """
        partition = self._topics.partition_of_call(account, call_id)
        call = self._shard(partition).calls.get(account, call_id)
        if call is None:
            await self._read_to_its_end(partition)
            call = self._shard(partition).calls.get(account, call_id)
        return call

    def counts(self) -> dict[int, tuple[int, int]]:
        """How many calls are known, and how many of them wait, by partition; of no partition while they move."""
        return {number: shard.calls.count() for number, shard in self._shards() if self._worker.settled}

    def last_webhook_at(self) -> dict[str, float]:
        """When the last webhook of each account was written to Kafka, as far as these partitions know."""
        latest: dict[str, float] = {}
        for _, shard in self._shards():
            for account, at in shard.last_webhook_at.items():
                latest[account] = max(at, latest.get(account, 0.0))
        return latest

    def _shards(self) -> Iterator[tuple[int, CorrelateShard]]:
        return ((n, shard) for n, shard in self._worker.shards.items() if isinstance(shard, CorrelateShard))

    def _shard(self, partition: int) -> CorrelateShard:
        """Give the shard that may be asked; raises ``NotHeld`` and ``NotCaughtUp``."""
        status = self._status(partition)
        if not status.caught_up:
            raise NotCaughtUp(f"{self._name(partition)} is still being read: {status.position} of {status.end}")
        shard = self._worker.shards[partition]
        assert isinstance(shard, CorrelateShard)
        return shard

    def _status(self, partition: int) -> PartitionStatus:
        """Say how far a partition has been read; raises ``NotHeld`` unless it is surely ours."""
        if not self._worker.settled:
            raise NotHeld(f"{self._name(partition)} may be moving: a rebalance is under way")
        for status in self._worker.status():
            if status.partition == partition:
                return status
        raise NotHeld(f"{self._name(partition)} is held by another worker")

    async def _read_to_its_end(self, partition: int) -> None:
        """Wait until the view has passed the present end of the log; raises ``NotCaughtUp`` when it takes too long."""
        end = await self._reader.end(self._topics.call_events.name, partition)
        give_up_at = time.monotonic() + CATCH_UP_SECONDS
        while (behind := end - self._status(partition).position) > 0:
            if time.monotonic() > give_up_at:
                raise NotCaughtUp(f"{self._name(partition)} is {behind} events behind")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _name(self, partition: int) -> str:
        return f"partition {partition} of {self._topics.call_events.name}"
