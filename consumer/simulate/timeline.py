"""What is to happen later: one heap for every call and every retried webhook, no task per waiting thing."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Timeline:
    """Timed callbacks `action(*args, now)`; times are seconds since the epoch."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        heappush(self._heap, (when, next(self._order), action, args))

    def run_due(self, now: float, *, at_most: int) -> float | None:
        """Run what is due at `now`, `at_most` actions; gives the seconds to the next one, or None when none is left."""
        for _ in range(at_most):
            if not self._heap or self._heap[0][0] > now:
                break
            _, _, action, args = heappop(self._heap)
            action(*args, now)
        return max(0.0, self._heap[0][0] - now) if self._heap else None
