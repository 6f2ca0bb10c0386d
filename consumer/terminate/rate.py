"""The rate limit of one account: a token bucket under a sliding window.

The bucket alone would let ``burst`` requests through right after a second in which ``requests_per_second`` went out. The
window forbids that: in no second, wherever it begins, leave more than the greater of the two, in whole requests (2.5 a second
is one each 0.4 s, and so 3 in some seconds and 5 in any two). A new owner of the account does not know what the old one has
just sent, so it starts as if everything had been: its first request leaves after a second.
"""

import math
from bisect import bisect_left, insort

WINDOW_SECONDS = 1.0
NO_TOKEN = 1e-9
"""Less is what rounding leaves."""
SLACK_SECONDS = 0.03
"""So long a request may travel: two that leave further apart may meet closer together at the provider. One that has been
answered sooner than that has arrived by then, and the window begins there."""


class RateLimit:
    """Grants requests. Times are seconds on any monotonic clock."""

    def __init__(self, requests_per_second: float, burst: int, *, now: float) -> None:
        self._rate = requests_per_second
        self._burst = burst
        self._tokens = 0.0
        self._at = now
        self._window = max(burst, math.ceil(requests_per_second))
        self._arrived_by = [now + SLACK_SECONDS] * self._window
        self._blocked_until = 0.0

    def try_take(self, now: float) -> bool:
        """Take a token if there is one."""
        if self.next_at(now) > now:
            return False
        self._tokens -= 1.0
        del self._arrived_by[0]
        insort(self._arrived_by, now + SLACK_SECONDS)
        return True

    def arrived(self, taken_at: float, now: float) -> None:
        """Note that the request whose token was taken then has been answered by now."""
        by = taken_at + SLACK_SECONDS
        n = bisect_left(self._arrived_by, by)
        if now < by and n < self._window and self._arrived_by[n] == by:
            del self._arrived_by[n]
            insort(self._arrived_by, now)

    def next_at(self, now: float) -> float:
        """The earliest time at which a request may leave; ``now`` or before for at once."""
        self._tokens = min(float(self._burst), self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        return max(self._filled_at(now, 1), self._arrived_by[0] + WINDOW_SECONDS, self._blocked_until)

    def next_behind(self, others: int, now: float) -> float:
        """The earliest time at which a request may leave once so many others have, if they leave as soon as they may."""
        first = self.next_at(now)
        if others >= self._window:
            return float("inf")
        refilled = first + (others + 1 - self._burst) / self._rate  # the bucket was full then, if not fuller
        return max(first, refilled, self._filled_at(now, others + 1), self._arrived_by[others] + WINDOW_SECONDS)

    def _filled_at(self, now: float, tokens: int) -> float:
        """When the bucket would hold so many tokens, were it large enough."""
        missing = tokens - self._tokens
        return now if missing <= NO_TOKEN else now + missing / self._rate

    def block_until(self, moment: float) -> None:
        """Let nothing through before ``moment``: the provider has asked for it."""
        self._blocked_until = max(self._blocked_until, moment)
