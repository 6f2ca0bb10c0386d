"""Files and folders that one process has for itself: two that wrote the same would each undo what the other has done.

The lock ends with the process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
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


@contextmanager
def first_free_file(folder: Path) -> Iterator[Path]:
    """Hold the first file of a folder (``0.sqlite``, ``1.sqlite`` …) that no other process holds, until the block is left."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in count():
        path = folder / f"{place}.sqlite"
        with held_if_free(path) as is_free:
            if is_free:
                yield path
                return


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a file until the block is left, unless another process does; says whether it is ours."""
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
