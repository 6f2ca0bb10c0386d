"""The end of a process: in order when asked once, at once when asked twice or when the order takes too long."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 25.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_on_signal(
    end: Callable[[], object], *, kill: Callable[[], None], deadline_seconds: float = DEADLINE_SECONDS
) -> Iterator[None]:
    """Call ``end`` on the first SIGINT or SIGTERM; it must make the body return.

    On a second one, or ``deadline_seconds`` after the first, call ``kill`` and leave the process with exit code 1.
    """
    loop = asyncio.get_running_loop()
    deadline: list[asyncio.TimerHandle] = []

    def at_once(why: str) -> None:
        logger.error("ending at once: %s", why)
        kill()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    def on_signal(name: str) -> None:
        if deadline:
            at_once(f"{name} for the second time")
        logger.info("%s: ending in order; once more ends at once", name)
        deadline.append(loop.call_later(deadline_seconds, at_once, f"it took more than {deadline_seconds:g} s"))
        end()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        yield
    finally:
        for handle in deadline:
            handle.cancel()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
