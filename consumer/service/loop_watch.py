"""An event loop that is blocked cannot say so itself: no timer fires, no request is answered, no heartbeat leaves.

So a thread looks whether the loop still turns. It counts its own looks and not the time, so a process that was stopped and
goes on is not taken for a blocked one.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

LIMIT_SECONDS = 30.0
LOOK_EVERY_SECONDS = 1.0
EXIT_CODE = 1


@contextmanager
def ending_a_blocked_loop(kill: Callable[[], None], *, limit_seconds: float = LIMIT_SECONDS) -> Iterator[None]:
    """Watch the running loop; when it has not turned for ``limit_seconds``, say where it stands, call ``kill`` and exit."""
    loop = asyncio.get_running_loop()
    turned, over = threading.Event(), threading.Event()

    def look() -> None:
        missed = 0.0
        while not over.wait(LOOK_EVERY_SECONDS):
            missed = 0.0 if turned.is_set() else missed + LOOK_EVERY_SECONDS
            turned.clear()
            if missed >= limit_seconds:
                logger.critical(
                    "the event loop has been blocked for %.0f s; ending, and this is where it stands:", missed
                )
                faulthandler.dump_traceback(sys.stderr)
                kill()
                os._exit(EXIT_CODE)
            loop.call_soon_threadsafe(turned.set)

    thread = threading.Thread(target=look, name="loop watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
