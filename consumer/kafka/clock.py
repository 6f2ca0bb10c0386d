"""Where workers read the time, so that it can be handed to them. Everything else takes ``now`` as an argument."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """``now`` gives seconds since the epoch, for what is written down and may be set back; ``monotonic`` is for intervals."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCK = Clock()
