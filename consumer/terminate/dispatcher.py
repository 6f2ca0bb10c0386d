"""When one account may send, and how much at once: rate, concurrency, breaker and holds in one place. Pure.

The owner asks ``next_at``, takes a place with ``try_start``, *then* chooses the calls, and reports what came back. A request
that stops calls leaves only after its attempts are in the log, which may take a tenth of a second. So its place is one of the
next to leave, taken as long ahead as that has lately taken: the rate is used to the full, and nothing is chosen sooner than
it must be. Its token is taken as it leaves; every other request takes its own at once.
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
MOST_AHEAD_SECONDS = 0.5
AHEAD_FADES = 0.97
"""How long ahead places are taken shrinks by so much with each request that was ready sooner."""
HOLDING = {AnswerClass.CREDENTIALS, AnswerClass.PERMISSION, AnswerClass.CONFIGURATION}
FAILING = {AnswerClass.UNKNOWN, AnswerClass.NOT_SENT}


@dataclass(frozen=True, slots=True)
class Health:
    """How an account's sending goes, for the page and the metrics. Times are on the clock that ``now`` was taken from.

    ``breakers`` and ``holds`` are of each endpoint, ``well`` are those that have answered; ``last_success_at`` is of any.
    ``in_flight`` are the requests that have left and have no answer yet.
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


@dataclass(slots=True)
class _Request:
    """A request that has no answer yet. ``left_at`` is None while it is being prepared."""

    endpoint: Endpoint
    began_at: float
    left_at: float | None = None


class Dispatcher:
    """The sending side of one account. ``now`` is in seconds on a monotonic clock: one set back must hold nothing up."""

    def __init__(self, account: Account, *, now: float, batch_limit: int = LARGEST_BATCH) -> None:
        limit = account.rate_limit
        self._rate = RateLimit(limit.requests_per_second, limit.burst, now=now)
        self._retries = Retries(limit.requests_per_second)
        self._batch_size = min(account.batch.size, batch_limit)
        self._most = limit.concurrency
        self._breakers = {endpoint: Breaker(self._most) for endpoint in Endpoint}
        self._account = Breaker(self._most)
        self._nowhere = 0
        self._requests = 0
        self._active: dict[str, _Request] = {}
        self._began_at = now
        self._ahead_seconds = 0.0
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
        """The earliest time to begin the next request; infinity while too many are under way.

        Those that are being prepared count apart from those that have left, so that one is ready when another is answered;
        but a probe is alone.
        """
        if self._account.probes and self._active:
            return float("inf")
        preparing, left = self._preparing(), self._left()
        if max(preparing, left) >= self._most:
            return float("inf")
        breaker = self._breakers[endpoint]
        to_it = self._preparing(endpoint), self._left(endpoint)
        at = self._rate.next_behind(preparing, now)
        if endpoint is Endpoint.STOP:
            at -= self._ahead_seconds
        return max(at, self._account.next_at(0), breaker.next_at(sum(to_it) if breaker.probes else max(to_it)))

    def is_open(self, now: float, endpoint: Endpoint) -> bool:
        """Whether an endpoint may be asked, as soon as the rate allows it and others have been answered."""
        return self._account.is_open(now) and self._breakers[endpoint].is_open(now)

    def try_start(self, now: float, endpoint: Endpoint = Endpoint.STOP) -> bool:
        """Take a place for one request; one that stops no calls takes its token with it, since it leaves at once."""
        if self.next_at(now, endpoint) > now or (endpoint is not Endpoint.STOP and not self._rate.try_take(now)):
            return False
        self._began_at = now
        self._retries.sent(now)
        return True

    def try_take(self, now: float) -> bool:
        """Take the token for one more request of something that is already under way."""
        return self._rate.try_take(now)

    def prepared(self, request_id: str, now: float) -> None:
        """Note that a request could leave now, to learn how long ahead the next have to take their places."""
        request = self._active.get(request_id)
        if request is not None:
            took = min(now - request.began_at, MOST_AHEAD_SECONDS)
            self._ahead_seconds = max(took, AHEAD_FADES * self._ahead_seconds)

    def try_depart(self, request_id: str, now: float) -> bool:
        """Take the token for a request that is prepared, if the provider may be asked for it now."""
        request = self._active[request_id]
        endpoint = request.endpoint
        full = self._left() >= self._most or not self._breakers[endpoint].has_room(self._left(endpoint))
        leaves = self.is_open(now, endpoint) and not full and self._rate.try_take(now)
        if leaves:
            request.left_at = now
        return leaves

    def is_late(self, now: float) -> bool:
        """Whether a request is being prepared that could leave by now."""
        return self._preparing() > 0 and self._rate.next_at(now) <= now

    def stayed(self, request_id: str) -> None:
        """Let go of a request that we did not let leave after all, of which there is nothing to learn."""
        self._active.pop(request_id, None)

    def rate_at(self, now: float) -> float:
        """The earliest time at which the rate allows a request to leave."""
        return self._rate.next_at(now)

    def started(self, request_id: str, termination_ids: tuple[str, ...], endpoint: Endpoint = Endpoint.STOP) -> None:
        left_at = None if endpoint is Endpoint.STOP else self._began_at
        self._active[request_id] = _Request(endpoint, self._began_at, left_at)
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
        request = self._active.pop(request_id, None)
        if request is None:
            return Endpoint.STOP
        if request.left_at is not None and answer.answer not in FAILING:
            self._rate.arrived(request.left_at, now)
        return request.endpoint

    def _preparing(self, endpoint: Endpoint | None = None) -> int:
        """How many requests are under way that have not left yet."""
        return sum(one.left_at is None and endpoint in {None, one.endpoint} for one in self._active.values())

    def _left(self, endpoint: Endpoint | None = None) -> int:
        """How many requests have left and have no answer yet."""
        return sum(one.left_at is not None and endpoint in {None, one.endpoint} for one in self._active.values())

    def health(self, now: float) -> Health:
        stops = self._breakers[Endpoint.STOP]
        return Health(
            {endpoint: breaker.state(now) for endpoint, breaker in self._breakers.items()},
            {endpoint: self._account.held or breaker.held for endpoint, breaker in self._breakers.items()},
            frozenset(e for e, breaker in self._breakers.items() if breaker.last_success_at is not None),
            self._account.last_success_at,
            self._requests,
            self._left(),
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
