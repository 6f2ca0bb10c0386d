"""Which file a process keeps its orders in. Several processes may share one ``data_dir``, and each needs one of its own.

A process takes the first that no other one holds. Each is a view of all of one topic, so it does not matter whose it was
before.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.kafka.only_here import first_free_file
from consumer.kafka.topics import ORDERS_COMPLETE_SECONDS
from consumer.kafka.view import remove_view


@contextmanager
def own_file(folder: Path) -> Iterator[Path]:
    """Give a file that is this process's own until the block is left.

    One that was not written to for so long that compaction may have taken what it has not read is removed before.
    """
    with first_free_file(folder) as path:
        if path.exists() and time.time() - path.stat().st_mtime > ORDERS_COMPLETE_SECONDS:
            remove_view(path)
        yield path
