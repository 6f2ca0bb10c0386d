"""Whether one endpoint of an account may be asked, and how often at once: what its answers have taught. Pure.

A provider that refuses or fails the reading of calls says nothing about stopping them, and the other way round; so each
endpoint has a breaker, and an account whose history may not be read is stopped at full rate. Times are seconds on the clock
that ``now`` is taken from.
"""

from collections import deque
from enum import StrEnum

from consumer.model.provider import Answer

FIRST_CONCURRENT = 4
BREAKER_FAILURES = 5
BREAKER_LATEST = 20
"""The breaker opens after so many failures in a row, or when half of so many latest answers are failures."""
BREAKER_SECONDS = (30.0, 60.0, 120.0, 300.0)
PROBE_SECONDS = 60.0
THROTTLE_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class Endpoint(StrEnum):
    """What a provider is asked for: to stop calls, how a call or a scope stands, a page of the call history."""

    STOP = "stop"
    LOOK = "look"
    HISTORY = "history"


class Breaker:
    """What is known of one endpoint, or of the account as a whole. ``held`` is the refusal that stands."""

    def __init__(self, most: int) -> None:
        self.held: str | None = None
        self.last_success_at: float | None = None
        self.concurrency = min(FIRST_CONCURRENT, most)
        self._most = most
        self._failures = 0
        self._latest: deque[bool] = deque(maxlen=BREAKER_LATEST)
        self._trips = 0
        self._throttles = 0
        self._throttled_until = 0.0
        self._closed_until = 0.0
        self._half_open = False

    @property
    def probes(self) -> bool:
        """Whether the next request only tries whether all is well again."""
        return self._half_open or self.held is not None

    def next_at(self, in_flight: int) -> float:
        """The earliest time of the next request; infinity while too many are in flight."""
        return max(self._closed_until, self._throttled_until) if self.has_room(in_flight) else float("inf")

    def has_room(self, in_flight: int) -> bool:
        """Whether the provider may be asked for one thing more at the same time."""
        return in_flight < (1 if self.probes else self.concurrency)

    def is_open(self, now: float) -> bool:
        """Whether it lets requests through, if only a probe."""
        return self.next_at(0) <= now

    def state(self, now: float) -> str:
        """Name the state: closed while all is well, else open, or half_open once a probe is due."""
        if not self._half_open:
            return "closed"
        return "open" if now < self._closed_until else "half_open"

    def succeeded(self, now: float) -> None:
        """Learn from an answer that is no failure, whatever it says of the calls."""
        self.held = None
        self._latest.append(False)
        self._failures = self._trips = self._throttles = 0
        self._half_open = False
        self._closed_until = 0.0
        self.concurrency = min(self._most, self.concurrency + 1)
        self.last_success_at = now

    def refused(self, answer: Answer, now: float) -> None:
        """Hold everything but one probe a minute."""
        self._throttles = 0
        self.held = f"{answer.answer}: {answer.detail}" if answer.detail else str(answer.answer)
        self._closed_until = now + PROBE_SECONDS

    def throttled(self, wait_seconds: float | None, now: float) -> float:
        """Slow down, for as long as the provider asks or longer each time; gives until when."""
        if now >= self._throttled_until:  # what else was in flight is refused for the same reason
            self._throttles = min(self._throttles + 1, len(THROTTLE_SECONDS))
            self.concurrency = max(1, self.concurrency // 2)
        wait = wait_seconds or THROTTLE_SECONDS[max(self._throttles, 1) - 1]
        self._throttled_until = max(self._throttled_until, now + wait)
        self.put_off(now)
        return self._throttled_until

    def put_off(self, now: float) -> None:
        """Keep to one probe a minute while a refusal stands that an answer said nothing about."""
        if self.held:
            self._closed_until = max(self._closed_until, now + PROBE_SECONDS)

    def failed(self, wait_seconds: float | None, now: float) -> int:
        """Count a failure, and open when there are too many; gives how many there were in a row."""
        self._throttles = 0
        self._failures += 1
        self._latest.append(True)
        self.concurrency = max(1, self.concurrency // 2)
        if wait_seconds:
            self._throttled_until = max(self._throttled_until, now + wait_seconds)
        already_open = self._half_open and now < self._closed_until  # this one left before the breaker opened
        self.put_off(now)
        half = len(self._latest) == BREAKER_LATEST and 2 * sum(self._latest) >= BREAKER_LATEST
        if (self._failures >= BREAKER_FAILURES or half) and not already_open:
            self._latest.clear()
            self._half_open = True
            self._closed_until = now + BREAKER_SECONDS[min(self._trips, len(BREAKER_SECONDS) - 1)]
            self._trips += 1
        return self._failures
