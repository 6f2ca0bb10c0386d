"""When one account may send, and how much at once: rate, concurrency, breaker and holds in one place. Pure.

The owner asks ``next_at``, takes the token with ``try_start``, *then* chooses the calls, and reports what came back.
"""

from collections import deque
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from consumer.model.accounts import LARGEST_BATCH, Account
from consumer.model.provider import Answer
from consumer.model.terminations import AnswerClass
from consumer.terminate.rate import RateLimit
from consumer.terminate.retries import Retries

FIRST_CONCURRENT = 4
BREAKER_FAILURES = 5
BREAKER_LATEST = 20
"""The breaker opens after so many failures in a row, or when half of so many latest answers are failures."""
NOWHERE_FROM = 5
"""So many requests in a row for which there was nothing there, and it is the address that is wrong, not the ids."""
BREAKER_SECONDS = (30.0, 60.0, 120.0, 300.0)
PROBE_SECONDS = 60.0
THROTTLE_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
HOLDING = {AnswerClass.CREDENTIALS, AnswerClass.PERMISSION, AnswerClass.CONFIGURATION}
FAILING = {AnswerClass.UNKNOWN, AnswerClass.NOT_SENT}


@dataclass(frozen=True, slots=True)
class Health:
    """How an account's sending goes, for the page and the metrics. Times are on the clock that ``now`` was taken from."""

    breaker: str
    held: str | None
    last_success_at: float | None
    requests: int
    in_flight: int
    concurrency: int


class Dispatcher:
    """The sending side of one account. ``now`` is in seconds on a monotonic clock: one set back must hold nothing up."""

    def __init__(self, account: Account, *, now: float, batch_limit: int = LARGEST_BATCH) -> None:
        limit = account.rate_limit
        self._rate = RateLimit(limit.requests_per_second, limit.burst, now=now)
        self._retries = Retries(limit.requests_per_second)
        self._departures = RateLimit(limit.requests_per_second, limit.burst, now=now)
        self._batch_size = min(account.batch.size, batch_limit)
        self._most = limit.concurrency
        self._concurrency = min(FIRST_CONCURRENT, self._most)
        self._failures = 0
        self._latest: deque[bool] = deque(maxlen=BREAKER_LATEST)
        self._trips = 0
        self._throttles = 0
        self._throttled_until = 0.0
        self._closed_until = 0.0
        self._half_open = False
        self._held: str | None = None
        self._nowhere = 0
        self._last_success_at: float | None = None
        self._requests = 0
        self._active: set[str] = set()
        self._unfolded: dict[str, tuple[str, ...]] = {}
        self._busy: set[str] = set()
        self.pinned: deque[tuple[str, ...]] = deque()

    @property
    def busy_ids(self) -> AbstractSet[str]:
        """Terminations that are in a request whose outcome the ledger does not know yet, or set aside for one."""
        return self._busy.union(*self.pinned) if self.pinned else self._busy

    @property
    def batch_size(self) -> int:
        """How many calls the next request may name: one while it is only a probe."""
        return 1 if self._half_open or self._held else self._batch_size

    def next_pinned(self) -> tuple[str, ...]:
        """Take the next part of a batch that was set aside; no more of it than a request may name now."""
        ids = self.pinned.popleft()
        if len(ids) > self.batch_size:
            self.pinned.appendleft(ids[self.batch_size :])
        return ids[: self.batch_size]

    def next_at(self, now: float) -> float:
        """The earliest time the next request may leave; infinity while too many are in flight."""
        limit = 1 if self._half_open or self._held else self._concurrency
        if len(self._active) >= limit:
            return float("inf")
        return max(self._rate.next_at(now), self._closed_until)

    def try_start(self, now: float) -> bool:
        """Take the token for one request."""
        started = self.next_at(now) <= now and self._rate.try_take(now)
        if started:
            self._retries.sent(now)
        return started

    def try_take(self, now: float) -> bool:
        """Take the token for one more request of something that is already under way."""
        return self._rate.try_take(now)

    def try_depart(self, now: float) -> bool:
        """Let a request that has its token leave, unless that would be too close to the ones before."""
        return self._departures.try_take(now)

    def departure_at(self, now: float) -> float:
        """The earliest time at which a request may leave."""
        return self._departures.next_at(now)

    def rate_at(self, now: float) -> float:
        """The earliest time at which the rate allows a request."""
        return self._rate.next_at(now)

    def started(self, request_id: str, termination_ids: tuple[str, ...]) -> None:
        self._active.add(request_id)
        self._unfolded[request_id] = termination_ids
        self._busy.update(termination_ids)
        self._requests += 1

    def folded(self, request_id: str) -> None:
        """Let go of a request's calls once its outcome is in the ledger."""
        if request_id not in self._unfolded:
            return
        self._busy.difference_update(self._unfolded.pop(request_id))
        self._busy.update(*self._unfolded.values())  # a part of it may be in a smaller request by now

    def understood(self, answer: Answer, calls: int) -> Answer:
        """Take a request for several calls that is answered with "not found" again and again for one to a wrong address.

        Else a typing error in the configuration would close every termination as not found.
        """
        if answer.answer is not AnswerClass.NOT_FOUND:
            self._nowhere = 0
            return answer
        self._nowhere += calls > 1 or self._nowhere >= NOWHERE_FROM
        if self._nowhere < NOWHERE_FROM:
            return answer
        return replace(
            answer, answer=AnswerClass.CONFIGURATION, detail=f"nothing is found at its address: {answer.detail}"
        )

    def answered(self, request_id: str, answer: Answer, now: float) -> float:
        """Learn from an answer; gives the time before which its calls are not to be sent again."""
        self._active.discard(request_id)
        if answer.answer is AnswerClass.THROTTLED:
            return self._throttled(answer, now)
        self._throttles = 0
        if answer.answer in HOLDING:
            self._held = f"{answer.answer}: {answer.detail}" if answer.detail else str(answer.answer)
            self._closed_until = now + PROBE_SECONDS
            return now
        if answer.answer in FAILING:
            return self._failed(answer, now)
        self._held = None
        self._latest.append(False)
        self._failures = self._trips = 0
        self._half_open = False
        self._closed_until = 0.0
        self._concurrency = min(self._most, self._concurrency + 1)
        self._last_success_at = now
        return now

    def health(self, now: float) -> Health:
        breaker = "closed"
        if self._half_open:
            breaker = "open" if now < self._closed_until else "half_open"
        return Health(breaker, self._held, self._last_success_at, self._requests, len(self._active), self._concurrency)

    def _throttled(self, answer: Answer, now: float) -> float:
        if now >= self._throttled_until:  # what else was in flight is refused for the same reason
            self._throttles = min(self._throttles + 1, len(THROTTLE_SECONDS))
            self._concurrency = max(1, self._concurrency // 2)
        wait = answer.retry_after_seconds or THROTTLE_SECONDS[max(self._throttles, 1) - 1]
        self._throttled_until = max(self._throttled_until, now + wait)
        self._rate.block_until(self._throttled_until)
        self._probe_later(now)
        return now + wait

    def _probe_later(self, now: float) -> None:
        """Keep to one probe a minute while a refusal stands that this answer says nothing about."""
        if self._held:
            self._closed_until = max(self._closed_until, now + PROBE_SECONDS)

    def _failed(self, answer: Answer, now: float) -> float:
        self._failures += 1
        self._latest.append(True)
        self._concurrency = max(1, self._concurrency // 2)
        if answer.retry_after_seconds:
            self._rate.block_until(now + answer.retry_after_seconds)
        already_open = self._half_open and now < self._closed_until  # this one left before the breaker opened
        self._probe_later(now)
        half = len(self._latest) == BREAKER_LATEST and 2 * sum(self._latest) >= BREAKER_LATEST
        if (self._failures >= BREAKER_FAILURES or half) and not already_open:
            self._latest.clear()
            self._half_open = True
            self._closed_until = now + BREAKER_SECONDS[min(self._trips, len(BREAKER_SECONDS) - 1)]
            self._trips += 1
        wait = answer.retry_after_seconds or RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1]
        return self._retries.turn(now + wait, now)


def bisected(ids: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Halve a batch in which at least one id is bad."""
    middle = len(ids) // 2
    return ids[:middle], ids[middle:]
