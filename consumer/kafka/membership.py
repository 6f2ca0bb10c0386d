"""Whether this process is still a member of its consumer group, where it cannot have noticed that it is not.

A process that is stopped (SIGSTOP, a frozen machine, a blocked event loop) for longer than its session lasts is taken out of
the group, and learns of it only when it speaks to the group again. Until then it must not act as if it held its partitions.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

EVERY_SECONDS = 0.5
ASK_SECONDS = 5.0
RETRY_SECONDS = 0.5


class Pulse:
    """Beats twice a second while this process runs; before it is started it has nothing to say."""

    def __init__(self) -> None:
        self._beat_at = float("inf")
        self._next: asyncio.TimerHandle | None = None

    def start(self, look: Callable[[], object]) -> None:
        """Begin; ``look`` is called before each beat, so that standing still does not pass unseen."""
        if self._next:
            look()
        self._beat_at = time.monotonic()
        self._next = asyncio.get_running_loop().call_later(EVERY_SECONDS, self.start, look)

    def stop(self) -> None:
        if self._next:
            self._next.cancel()

    def stood_still(self, seconds: float) -> bool:
        """Whether it has not beaten for that long; once it has been asked, it beats again."""
        now = time.monotonic()
        if now - self._beat_at <= seconds:
            return False
        self._beat_at = now
        return True


async def is_still_member(coordinator: Any) -> bool:
    """Ask the group of an aiokafka consumer until it answers; False where it has begun to share the partitions out anew."""
    while True:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                confirmed = await coordinator._do_heartbeat()  # noqa: SLF001 -- nothing public asks the group
            if confirmed or coordinator._rejoin_needed_fut.done():  # noqa: SLF001
                return not coordinator._rejoin_needed_fut.done()  # noqa: SLF001
        except (KafkaError, TimeoutError, OSError) as error:
            logger.warning("the group does not say whether it still counts us in: %r", error)
        await asyncio.sleep(RETRY_SECONDS)
