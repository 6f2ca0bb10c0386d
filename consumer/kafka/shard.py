"""What a role is to the worker that runs it."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Protocol

from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.view import View


class Shard(Protocol):
    """What a role knows and does for one partition. All of it is synchronous; the worker does the I/O."""

    view: View

    @property
    def dirty(self) -> bool:
        """Whether what ``work`` has folded is to be saved, though no record has been read since."""
        ...

    @property
    def urgent(self) -> bool:
        """Whether what has been folded is to be saved at once: it is looked for in the rows, or takes too much memory."""
        ...

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        """Fold records of one topic; gives what is to be written, nothing while not ``live``."""
        ...

    def go_live(self, *, caught_up: bool) -> None:
        """Learn that silent replay is over; ``caught_up`` once everything that was there at the start is folded."""
        ...

    def looks_into_rows(self, now: float) -> bool:
        """Whether ``work`` would go by what is saved, so that what is only folded has to be saved first."""
        ...

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Do what needs no new record (orders that changed, timers); says whether more of it is left."""
        ...

    def before_commit(self) -> list[OutRecord]:
        """Give what has to be written before the group may learn that all that is saved has been said; a part at a time.

        ``save`` follows, once it is written; nothing is left to say when this gives nothing.
        """
        ...

    def save(self, connection: Connection) -> bool:
        """Write what changed since the last save, or a part of it, into the open transaction; says whether more is left."""
        ...
