"""How memory is kept: how often the garbage collector looks, and when the C library gives back what was freed."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's ``mallopt``, from its ``malloc.h``."""
KEPT_BYTES = 32 << 20


def quieten_gc() -> None:
    """Tell the garbage collector that what is there now stays, and to look at new objects less often.

    Nothing of ours makes cycles on a hot path; by default it walks over the whole program many times a second. A look takes
    some 5 ms after 10,000 new objects that stay, and some 30 when it is the turn of those of twenty looks.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def keep_freed_memory() -> None:
    """Let the C library keep up to ``KEPT_BYTES`` that were freed at the end of its heap, and use them again.

    By default it gives back what an answer from Kafka took, which is megabytes, and asks for as much with the next. The
    system fills that with zeros page by page: a twentieth of what an event costs correlate. Without glibc nothing is done.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Quieten the garbage collector for as long as the block lasts."""
    thresholds = gc.get_threshold()
    quieten_gc()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
