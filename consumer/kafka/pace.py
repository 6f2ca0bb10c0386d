"""How often a worker lets its shards work, and saves what it has folded."""

from typing import Final, NamedTuple

from consumer.kafka.held import Held

WORK_EVERY_SECONDS = 0.25
TURN_SECONDS = 0.003


class Pace(NamedTuple):
    """How often the shards work without being woken, and after how many records folded a partition is saved at the latest.

    It is saved sooner before a commit, and where the shard looks into what is saved. Neither happens while it is replayed
    silently, so more may be saved at once then: after ``save_silent_at_records``, if that is more. Others get their turn
    when the shards have worked for ``turn_seconds``.
    """

    work_every_seconds: float = WORK_EVERY_SECONDS
    save_at_records: int = 1
    save_silent_at_records: int = 1
    turn_seconds: float = TURN_SECONDS

    def saves(self, held: Held) -> bool:
        """Whether it is time to save what has been folded of a partition."""
        silent = not held.live and self.save_silent_at_records > self.save_at_records
        return held.unsaved_records >= (self.save_silent_at_records if silent else self.save_at_records)


DEFAULT_PACE: Final = Pace()
