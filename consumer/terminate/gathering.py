"""How long a batch that is not full waits for more calls. Pure; times are seconds on a monotonic clock.

Two kinds of waiting: the linger, from the first call on, which an operator's call never waits for; and for calls that come
from looking through many, until that search has gone quiet. Searches over a hundred calls are over in a blink, searches over
a hundred thousand take seconds and pause meanwhile, so quiet is what lasts as long as the search has lasted already.
"""

from dataclasses import dataclass

SHORTEST_QUIET_SECONDS = 0.1
LONGEST_QUIET_SECONDS = 3.0


@dataclass(slots=True)
class Gathering:
    """One account's calls that came lately. ``first_at`` is None while none wait."""

    first_at: float | None = None
    emergency: bool = False
    search_began_at: float = 0.0
    found_at: float = float("-inf")

    def came(self, now: float, *, emergency: bool, bulk: bool) -> None:
        """Note a call to be stopped; ``bulk`` where a search through many found it."""
        if self.first_at is None:
            self.first_at, self.emergency = now, False
        self.emergency = self.emergency or emergency
        if bulk:
            if now - self.found_at > LONGEST_QUIET_SECONDS:
                self.search_began_at = now
            self.found_at = now

    def emptied(self) -> None:
        """Note that no call waits any more."""
        self.first_at = None

    def ready_at(self, linger_seconds: float) -> float:
        """Give the time from which a batch that is not full may leave."""
        if self.first_at is None:
            return float("-inf")
        lingered = self.first_at + (0.0 if self.emergency else linger_seconds)
        lasted = self.found_at - self.search_began_at
        return max(lingered, self.found_at + min(max(lasted, SHORTEST_QUIET_SECONDS), LONGEST_QUIET_SECONDS))
