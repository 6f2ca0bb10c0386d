"""How far what is known of calls is behind: too far, and the safety lever is pulled, since rules then judge the past."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from consumer.kafka.order_feed import OrderFeed, control_record
from consumer.kafka.producer import Producer
from consumer.kafka.worker import FoldingWorker
from consumer.model.controls import Lever
from consumer.model.orders import Author

logger = logging.getLogger(__name__)

TOO_FAR_SECONDS = 60.0
SURE_AFTER_SECONDS = 5.0
EVERY_SECONDS = 1.0
CORRELATE = Author("correlate", "correlate")


class Read(NamedTuple):
    """How far a partition has been read: the next offset, and the broker's time of the last record (seconds)."""

    offset: int
    stamp: float


class Lag:
    """Which partitions read events that are too old. Pure: what was read and the time go in.

    Old events are a sign only while they keep coming: a partition in which nothing happens has nothing to be behind with.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Read, float]] = {}
        self._behind: dict[int, tuple[float, float]] = {}

    def look(self, now: float, read: Mapping[int, Read]) -> dict[int, float]:
        """Give the partitions that are surely behind, each with the time since which."""
        for partition in [partition for partition in self._seen if partition not in read]:
            del self._seen[partition]
            self._behind.pop(partition, None)
        for partition, told in read.items():
            self._look_at(partition, told, now)
        return {
            partition: since for partition, (since, last) in self._behind.items() if last - since >= SURE_AFTER_SECONDS
        }

    def _look_at(self, partition: int, told: Read, now: float) -> None:
        before, moved_at = self._seen.get(partition, (told, now))
        moved = told.offset != before.offset
        self._seen[partition] = (told, now if moved else moved_at)
        if moved and now - told.stamp > TOO_FAR_SECONDS:
            self._behind[partition] = (self._behind.get(partition, (now, now))[0], now)
        elif moved or now - moved_at > SURE_AFTER_SECONDS:
            self._behind.pop(partition, None)


class LagWatch:
    """Looks once a second, and pulls the lever. What was behind when a person released it does not pull it again."""

    def __init__(self, worker: FoldingWorker, feed: OrderFeed, producer: Producer, rules: Callable[[], bool]) -> None:
        self._worker = worker
        self._feed = feed
        self._producer = producer
        self._rules = rules
        self._lag = Lag()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            lever = self.look(time.time())
            if lever is not None:
                logger.error("the safety lever is pulled: %s", lever.reason)
                await self._producer.publish_all([control_record(self._feed.topic, lever)])

    def look(self, now: float) -> Lever | None:
        """Give the lever to be written, if it has to be pulled now."""
        behind = self._lag.look(now, self._read())
        lever = self._feed.controls.lever
        if not behind or not self._feed.ready or not self._rules() or (lever is not None and lever.engaged):
            return None
        if lever is not None and min(behind.values()) <= lever.at:
            return None
        which = ", ".join(map(str, sorted(behind)[:10])) + (" and others" if len(behind) > 10 else "")
        reason = (
            f"partitions {which} of the calls are more than {TOO_FAR_SECONDS:.0f} s behind what happens, "
            "so rules judge what is long past"
        )
        return Lever(engaged=True, reason=reason, by=CORRELATE)

    def _read(self) -> dict[int, Read]:
        """What the caught up partitions have read; one that is still being read back is behind by nature."""
        found = {}
        shards = self._worker.shards
        for status in self._worker.status():
            shard = shards.get(status.partition)
            stamp = max(shard.view.stamps.values(), default=None) if shard else None
            if status.caught_up and stamp is not None:
                found[status.partition] = Read(status.position, stamp / 1_000)
        return found
