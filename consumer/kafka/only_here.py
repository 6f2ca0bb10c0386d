"""One process a role and data folder: two that wrote the same views would each undo what the other has done."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.kafka.errors import InUse


@contextmanager
def only_here(views: Path, role: str) -> Iterator[Path]:
    """Hold the folder of a role's views, ``views``/``role``, until the block is left or the process ends, however it ends.

    Raises:
        InUse: another process holds it.

    """
    views.mkdir(parents=True, exist_ok=True)
    with (views / f"{role}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InUse(
                f"process {lock.read().strip() or 'unknown'} runs {role} with the data in {views.parent.absolute()} already: "
                "end it, or give this one another data_dir (CALLBREAKER__DATA_DIR)"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield views / role
