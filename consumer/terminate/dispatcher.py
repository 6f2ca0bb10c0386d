"""When one account may send, and how much at once: rate, concurrency, breaker and holds in one place. Pure.

The owner asks ``next_at``, takes the token with ``try_start``, *then* chooses the calls, and reports what came back.
"""

from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from consumer.model.accounts import LARGEST_BATCH, Account
from consumer.model.provider import Answer
from consumer.model.terminations import AnswerClass
from consumer.terminate.breaker import Breaker, Endpoint
from consumer.terminate.rate import RateLimit
from consumer.terminate.retries import Retries

NOWHERE_FROM = 5
"""So many requests in a row for which there was nothing there, and it is the address that is wrong, not the ids."""
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
HOLDING = {AnswerClass.CREDENTIALS, AnswerClass.PERMISSION, AnswerClass.CONFIGURATION}
FAILING = {AnswerClass.UNKNOWN, AnswerClass.NOT_SENT}


@dataclass(frozen=True, slots=True)
class Health:
    """How an account's sending goes, for the page and the metrics. Times are on the clock that ``now`` was taken from.

    ``breakers`` and ``holds`` are of each endpoint, ``well`` are those that have answered; ``last_success_at`` is of any.
    """

    breakers: Mapping[Endpoint, str]
    holds: Mapping[Endpoint, str | None]
    well: frozenset[Endpoint]
    last_success_at: float | None
    requests: int
    in_flight: int
    concurrency: int

    @property
    def breaker(self) -> str:
        """The state of the breaker of requests that stop calls."""
        return self.breakers[Endpoint.STOP]

    @property
    def held(self) -> str | None:
        """The refusal because of which no calls are stopped."""
        return self.holds[Endpoint.STOP]


class Dispatcher:
    """The sending side of one account. ``now`` is in seconds on a monotonic clock: one set back must hold nothing up."""

    def __init__(self, account: Account, *, now: float, batch_limit: int = LARGEST_BATCH) -> None:
        limit = account.rate_limit
        self._rate = RateLimit(limit.requests_per_second, limit.burst, now=now)
        self._retries = Retries(limit.requests_per_second)
        self._departures = RateLimit(limit.requests_per_second, limit.burst, now=now)
        self._batch_size = min(account.batch.size, batch_limit)
        self._most = limit.concurrency
        self._breakers = {endpoint: Breaker(self._most) for endpoint in Endpoint}
        self._account = Breaker(self._most)
        self._nowhere = 0
        self._requests = 0
        self._active: dict[str, tuple[float, Endpoint]] = {}
        self._taken_at = now
        self._departed: dict[str, float] = {}
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
        return 1 if self._account.probes or self._breakers[Endpoint.STOP].probes else self._batch_size

    def next_pinned(self) -> tuple[str, ...]:
        """Take the next part of a batch that was set aside; no more of it than a request may name now."""
        ids = self.pinned.popleft()
        if len(ids) > self.batch_size:
            self.pinned.appendleft(ids[self.batch_size :])
        return ids[: self.batch_size]

    def next_at(self, now: float, endpoint: Endpoint = Endpoint.STOP) -> float:
        """The earliest time the next request may leave; infinity while too many are in flight."""
        in_flight = len(self._active)
        if in_flight >= self._most or (self._account.probes and in_flight):
            return float("inf")
        to_it = sum(1 for _, other in self._active.values() if other is endpoint)
        return max(self._rate.next_at(now), self._account.next_at(0), self._breakers[endpoint].next_at(to_it))

    def is_open(self, now: float, endpoint: Endpoint) -> bool:
        """Whether an endpoint may be asked, as soon as the rate allows it and others have been answered."""
        return self._account.is_open(now) and self._breakers[endpoint].is_open(now)

    def try_start(self, now: float, endpoint: Endpoint = Endpoint.STOP) -> bool:
        """Take the token for one request."""
        started = self.next_at(now, endpoint) <= now and self._rate.try_take(now)
        if started:
            self._taken_at = now
            self._retries.sent(now)
        return started

    def try_take(self, now: float) -> bool:
        """Take the token for one more request of something that is already under way."""
        return self._rate.try_take(now)

    def try_depart(self, request_id: str, now: float) -> bool:
        """Let a request that has its token leave, unless that would be too close to the ones before."""
        leaves = self._departures.try_take(now)
        if leaves:
            self._departed[request_id] = now
        return leaves

    def departure_at(self, now: float) -> float:
        """The earliest time at which a request may leave."""
        return self._departures.next_at(now)

    def rate_at(self, now: float) -> float:
        """The earliest time at which the rate allows a request."""
        return self._rate.next_at(now)

    def started(self, request_id: str, termination_ids: tuple[str, ...], endpoint: Endpoint = Endpoint.STOP) -> None:
        self._active[request_id] = self._taken_at, endpoint
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
        endpoint = self._has_arrived(request_id, answer, now)
        breaker = self._breakers[endpoint]
        if answer.answer is AnswerClass.THROTTLED:
            return self._throttled(endpoint, answer, now)
        if answer.answer in HOLDING:
            self._account.put_off(now)
            of_all = answer.answer is AnswerClass.CREDENTIALS  # the key opens every endpoint or none
            (self._account if of_all else breaker).refused(answer, now)
            return now
        if answer.answer in FAILING:
            return self._failed(endpoint, answer, now)
        self._account.succeeded(now)
        breaker.succeeded(now)
        return now

    def _has_arrived(self, request_id: str, answer: Answer, now: float) -> Endpoint:
        """Let the rate count a request from when its answer was there; one without an answer may still be on its way."""
        taken_at, endpoint = self._active.pop(request_id, (None, Endpoint.STOP))
        departed_at = self._departed.pop(request_id, None)
        if answer.answer in FAILING:
            return endpoint
        if taken_at is not None:
            self._rate.arrived(taken_at, now)
        if departed_at is not None:
            self._departures.arrived(departed_at, now)
        return endpoint

    def health(self, now: float) -> Health:
        stops = self._breakers[Endpoint.STOP]
        return Health(
            {endpoint: breaker.state(now) for endpoint, breaker in self._breakers.items()},
            {endpoint: self._account.held or breaker.held for endpoint, breaker in self._breakers.items()},
            frozenset(e for e, breaker in self._breakers.items() if breaker.last_success_at is not None),
            self._account.last_success_at,
            self._requests,
            len(self._active),
            stops.concurrency,
        )

    def _throttled(self, endpoint: Endpoint, answer: Answer, now: float) -> float:
        """Wait as long as is asked for; where stops must, whatever else there is to ask waits too."""
        until = self._breakers[endpoint].throttled(answer.retry_after_seconds, now)
        self._account.put_off(now)
        if endpoint is Endpoint.STOP:
            self._rate.block_until(until)
        return until

    def _failed(self, endpoint: Endpoint, answer: Answer, now: float) -> float:
        wait = answer.retry_after_seconds
        in_a_row = self._breakers[endpoint].failed(wait, now)
        self._account.put_off(now)
        if wait and endpoint is Endpoint.STOP:
            self._rate.block_until(now + wait)
        wait = wait or RETRY_SECONDS[min(in_a_row, len(RETRY_SECONDS)) - 1]
        return self._retries.turn(now + wait, now)


def bisected(ids: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Halve a batch in which at least one id is bad."""
    middle = len(ids) // 2
    return ids[:middle], ids[middle:]
