"""Saving what a worker has folded, and committing the offsets of what is saved: once a second, more seldom while much waits.

Others get their turn between two steps, for a moment longer while they may not wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from consumer.kafka.checkpoints import wait_for_journal
from consumer.kafka.clock import Clock
from consumer.kafka.held import Held
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.reader import GroupReader

COMMIT_EVERY_SECONDS, COMMIT_BEHIND_EVERY_SECONDS = 1.0, 5.0
REST_SECONDS = 0.01


class Saving:
    """What is saved of the partitions ``held`` and not committed yet."""

    def __init__(self, held: Mapping[int, Held], reader: GroupReader, producer: Producer, clock: Clock) -> None:
        self._held = held
        self._reader = reader
        self._producer = producer
        self._clock = clock
        self._uncommitted: dict[tuple[str, int], int] = {}
        self._committed_at = 0.0
        self.pressing: Callable[[], bool] = lambda: False

    async def let_others(self) -> None:
        """Let others have their turn."""
        await asyncio.sleep(REST_SECONDS if self.pressing() else 0)

    async def save(self, held: Held) -> None:
        """Save what has been folded of one partition, once all that follows from it is written."""
        await held.written()
        with closing(held.save(self._uncommitted)) as steps:
            for _ in steps:
                await self.let_others()
        await asyncio.sleep(0)
        await wait_for_journal(held.shard.view.path)

    async def save_all(self) -> None:
        """Save every partition."""
        for held in self._held.values():
            if held.unsaved:
                await self.save(held)

    def is_due(self, *, behind: bool) -> bool:
        """Whether it is time to commit; the time runs from then on."""
        now = self._clock.monotonic()
        due = now - self._committed_at >= (COMMIT_BEHIND_EVERY_SECONDS if behind else COMMIT_EVERY_SECONDS)
        if due:
            self._committed_at = now
        return due

    async def say_the_rest(self, live: Iterable[Held]) -> None:
        """Write what the shards keep back until a commit: another owner replays silently up to there."""
        saying = list(live)
        while saying:
            told: list[tuple[Held, list[OutRecord]]] = []
            for held in saying:
                if records := held.shard.before_commit():
                    told.append((held, records))
                await asyncio.sleep(0)
            await self._producer.publish_all([record for _, records in told for record in records])
            for held, _ in told:
                await self.save(held)
            saying = [held for held, _ in told]

    async def commit(self) -> None:
        """Commit the offsets of what is saved; those that cannot be now are kept for the next time."""
        if not self._uncommitted:
            return
        offsets, self._uncommitted = self._uncommitted, {}
        if not await self._reader.commit(offsets):
            self._uncommitted = offsets | self._uncommitted

    def keep(self, partitions: frozenset[int]) -> None:
        """Forget what belongs to others now, or was committed by them."""
        self._uncommitted = {
            key: offset
            for key, offset in self._uncommitted.items()
            if key[1] in partitions and offset > self._held[key[1]].committed[key[0]]
        }

    def finish(self, *, midway: bool) -> None:
        """Save what can be at the very end; ``midway`` where rows would tell of what has not been written about."""
        for partition, held in self._held.items():
            if held.unsaved and held.all_written and not midway:
                deque(held.save(self._uncommitted), maxlen=0)
            if held.live and held.shard.before_commit():
                # Said after the next start, by whoever reads on from there.
                self._uncommitted = {key: n for key, n in self._uncommitted.items() if key[1] != partition}
