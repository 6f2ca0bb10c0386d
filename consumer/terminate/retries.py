"""When what failed may be asked for again: at most a tenth of an account's requests are repetitions. Pure.

A provider that fails half of what it is asked would else be asked twice as often, when it can bear it least. First tries
never wait for repetitions; a repetition waits for its turn, and a few that fail together need not.
"""

from collections import deque

SHARE = 0.1
WINDOW_SECONDS = 10.0
AT_ONCE = 5
"""So many may be repeated without waiting, after a while without failures."""
LONGEST_SECONDS = 10.0
"""However seldom an account sends, the turns of two repetitions are not further apart."""


class Retries:
    """The turns of one account's repetitions. ``now`` is in seconds on a monotonic clock."""

    def __init__(self, requests_per_second: float) -> None:
        self._shortest = 1.0 / (SHARE * requests_per_second)
        self._sent: deque[float] = deque()
        self._booked_until = float("-inf")

    def sent(self, now: float) -> None:
        """Note a request."""
        self._sent.append(now)
        self._forget(now)

    def turn(self, earliest: float, now: float) -> float:
        """Give when a request that failed may be repeated, at ``earliest`` or later; that turn is taken then."""
        self._forget(now)
        lasted = min(max(now - self._sent[0], 1.0), WINDOW_SECONDS) if self._sent else WINDOW_SECONDS
        apart = max(self._shortest, min(lasted / (SHARE * max(1, len(self._sent))), LONGEST_SECONDS))
        booked_until = max(self._booked_until, earliest)
        self._booked_until = booked_until + apart
        return max(earliest, booked_until - (AT_ONCE - 1) * apart)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] <= now - WINDOW_SECONDS:
            self._sent.popleft()
