"""Opening the shards of partitions that the group has given us, each with a view that can be gone on with."""

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from consumer.kafka.resume import Doubt, Log, doubt
from consumer.kafka.shard import Shard
from consumer.kafka.view import log_thrown_away

logger = logging.getLogger(__name__)


class Opening:
    """Remembers of which partitions the log has changed under us: what was committed of those counts for nothing."""

    def __init__(self, open_shard: Callable[[int], Shard]) -> None:
        self._open_shard = open_shard
        self._log_changed: set[int] = set()

    def keep(self, assigned: AbstractSet[int]) -> None:
        """Forget what is remembered of other partitions."""
        self._log_changed &= assigned

    def open(
        self, partition: int, held: Shard | None, committed: Mapping[str, int], log: Log
    ) -> tuple[Shard, dict[str, int]]:
        """Give the shard of a partition, and up to where all has been said, by topic.

        Args:
            partition: its number.
            held: the shard, if this worker has held the partition up to now.
            committed: the group's offsets, by topic.
            log: what Kafka says of the partition, asked after ``committed``.

        """
        counting = {topic: _counting(offset, topic, partition, log) for topic, offset in committed.items()}
        shard = held
        if shard and any(shard.view.offsets.get((topic, partition), 0) < n for topic, n in counting.items()):
            # Somebody else has folded and said more meanwhile: what the shard has in mind beside its view is out of date.
            shard.view.close()
            shard = None
        shard = shard or self._open_shard(partition)
        if found := doubt(shard.view, log):
            self.throw_away(partition, shard, found)
            shard = self._open_shard(partition)
        return shard, dict.fromkeys(counting, 0) if partition in self._log_changed else counting

    def throw_away(self, partition: int, shard: Shard, found: Doubt) -> None:
        """Remove a view that cannot be gone on with; the shard is of no use after that."""
        log_thrown_away(shard.view.path, str(found))
        shard.view.discard()
        if found.log_changed:
            self._log_changed.add(partition)


def _counting(committed: int, topic: str, partition: int, log: Log) -> int:
    """Give up to where all has been said; 0 where what was committed is of a log that has lost its end since."""
    end = log.bounds[topic, partition][1]
    if committed <= end:
        return committed
    logger.warning(
        "%s/%d ends at %d, before the %d committed: that counts for nothing", topic, partition, end, committed
    )
    return 0
