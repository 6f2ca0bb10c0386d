from bisect import bisect_right
from copy import deepcopy
from heapq import heappop, heappush
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.provider import Answer
from consumer.model.terminations import AnswerClass
from consumer.terminate.breaker import Endpoint
from consumer.terminate.dispatcher import Dispatcher
from consumer.terminate.rate import RateLimit
from tests.unit.values import account

START = 1_800_000_000.0
"""Seconds since the epoch, since that is what the dispatcher counts in: floats are coarser there."""
TICK = 1e-6


def busiest(sent: list[float], window: float) -> int:
    """The most requests in any half-open window of that length."""
    return max((bisect_right(sent, at + window - TICK) - n for n, at in enumerate(sent)), default=0)


@given(
    rps=st.sampled_from([0.2, 0.5, 1.0, 2.5, 5.0, 50.0]),
    burst=st.sampled_from([1, 3, 5, 20]),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.05, 0.19, 0.9, 1.0, 7.0]) | st.floats(0, 3), max_size=300),
    taken_over=st.integers(0, 300),
)
def test_no_window_ever_holds_more_than_the_limit_even_when_the_account_changes_hands(
    rps: float, burst: int, pauses: list[float], taken_over: int
) -> None:
    now = START
    limit = RateLimit(rps, burst, now=now)
    sent = []
    for n, pause in enumerate(pauses):
        if n == taken_over:  # the old owner has died, and the new one knows nothing of it
            limit = RateLimit(rps, burst, now=now)
        now += pause
        while limit.try_take(now):
            sent.append(now)
    assert busiest(sent, 1.0) <= max(burst, ceil(rps))
    assert busiest(sent, 60.0) <= 60 * rps + burst


@pytest.mark.parametrize(("rps", "burst"), [(1.0, 1), (5.0, 5), (5.0, 20), (50.0, 5)])
@pytest.mark.parametrize("pause", [0.0, 0.01, 0.3, 0.9, 1.0, 3.0])
def test_a_takeover_at_full_speed_exceeds_no_window(rps: float, burst: int, pause: float) -> None:
    now, sent = START, []
    for _ in range(3):
        limit = RateLimit(rps, burst, now=now)
        until = now + 6.5
        while now < until:
            now = max(now + 0.001, limit.next_at(now))
            while limit.try_take(now):
                sent.append(now)
        now += 5.0
        while limit.try_take(now):  # a burst after a quiet time, and nobody knows of it
            sent.append(now)
        now += pause
    assert len(sent) >= 6.5 * rps
    assert busiest(sent, 1.0) <= max(burst, rps)


@given(
    rps=st.sampled_from([1.0, 5.0, 50.0]),
    burst=st.sampled_from([1, 5]),
    travels=st.lists(st.tuples(st.floats(0, 0.03), st.floats(0, 0.05)), min_size=60, max_size=200),
)
def test_requests_travel_at_any_speed_and_no_window_at_the_provider_holds_more_than_the_limit(
    rps: float, burst: int, travels: list[tuple[float, float]]
) -> None:
    now = START
    limit = RateLimit(rps, burst, now=now)
    answers: list[tuple[float, float]] = []
    arrivals = []
    for there, back in travels:
        now = max(now, limit.next_at(now)) + TICK
        for answered_at, taken_at in [one for one in answers if one[0] <= now]:
            limit.arrived(taken_at, answered_at)
        answers = [one for one in answers if one[0] > now]
        now = max(now, limit.next_at(now))
        assert limit.try_take(now)
        arrivals.append(now + there)
        answers.append((now + there + back, now))
    assert busiest(sorted(arrivals), 1.0) <= max(burst, ceil(rps))


def test_answers_that_come_soon_let_the_whole_rate_through() -> None:
    limit = RateLimit(50.0, 5, now=START)
    now, sent = START + 1.0, 0
    while now < START + 21.0:
        now = max(now + TICK, limit.next_at(now))
        if limit.try_take(now):
            sent += 1
            limit.arrived(now, now + 0.004)
    assert sent >= 0.99 * 1_000


@given(
    rps=st.sampled_from([0.2, 1.0, 2.5, 5.0, 50.0]),
    burst=st.sampled_from([1, 5]),
    asked=st.lists(st.floats(0, 2), max_size=40),
)
def test_the_next_time_is_the_first_at_which_a_request_may_leave(rps: float, burst: int, asked: list[float]) -> None:
    now = START
    limit = RateLimit(rps, burst, now=now)
    for pause in asked:
        now += pause
        due = limit.next_at(now)
        if due > now:
            assert not limit.try_take(due - 1e-4)
        now = max(now, due) + TICK
        assert limit.try_take(now)


@pytest.mark.parametrize(
    ("rps", "burst"),
    [(0.2, 1), (0.5, 5), (1.0, 1), (2.5, 1), (2.5, 3), (5.0, 1), (5.0, 5), (5.0, 20), (50.0, 5), (200.0, 200)],
)
def test_the_whole_rate_is_used_when_there_is_demand(rps: float, burst: int) -> None:
    limit = RateLimit(rps, burst, now=START)
    now, sent = START, []
    while now < START + 120:
        now = max(now, limit.next_at(now))
        if limit.try_take(now):
            sent.append(now)
    steady = [at for at in sent if START + 20 <= at < START + 120]
    assert len(steady) >= 0.95 * 100 * rps


def test_a_new_owner_starts_with_an_empty_bucket() -> None:
    limit = RateLimit(5.0, 5, now=START)
    assert not limit.try_take(START)
    assert START + 1.0 <= limit.next_at(START) <= START + 1.1


def test_what_the_provider_asked_for_is_waited_for_and_never_shortened() -> None:
    limit = RateLimit(50.0, 5, now=START)
    limit.block_until(START + 30)
    limit.block_until(START + 10)
    assert not limit.try_take(START + 29.9)
    assert limit.next_at(START + 5) == START + 30
    assert limit.try_take(START + 30)


def test_a_clock_that_is_set_back_grants_nothing_extra() -> None:
    limit = RateLimit(5.0, 5, now=START)
    later = START + 10
    assert [limit.try_take(later) for _ in range(6)] == [True] * 5 + [False]
    assert not limit.try_take(START + 9)
    assert not limit.try_take(later)


@given(
    rps=st.sampled_from([0.5, 2.5, 50.0]),
    burst=st.sampled_from([1, 3, 5]),
    pauses=st.lists(st.floats(0, 1.5), max_size=60),
    behind=st.integers(0, 8),
)
def test_who_stands_behind_others_is_told_no_later_time_than_the_one_after_they_have_left(
    rps: float, burst: int, pauses: list[float], behind: int
) -> None:
    now = START
    limit = RateLimit(rps, burst, now=now)
    for pause in pauses:
        now += pause
        limit.try_take(now)
    told = limit.next_behind(behind, now)
    if behind >= max(burst, ceil(rps)):
        assert told == float("inf")
        return
    others, leaves = deepcopy(limit), now
    for _ in range(behind):
        leaves = max(leaves, others.next_at(leaves))
        assert others.try_take(leaves)
    assert limit.next_at(now) <= told <= max(leaves, others.next_at(leaves)) + TICK
    if behind == 0:
        assert told == limit.next_at(now)


@given(
    rps=st.sampled_from([2.0, 5.0, 50.0]),
    burst=st.sampled_from([1, 5]),
    requests=st.lists(st.tuples(st.sampled_from(Endpoint), st.floats(0, 1.2), st.floats(0.03, 2)), min_size=20),
)
def test_however_long_requests_take_to_be_ready_all_of_an_account_keep_within_the_limit(
    rps: float, burst: int, requests: list[tuple[Endpoint, float, float]]
) -> None:
    dispatcher = Dispatcher(account(rate_limit={"requests_per_second": rps, "burst": burst}), now=START)
    now, sent = START, []
    events: list[tuple[float, str, Endpoint, float]] = []
    for n, (endpoint, ready_after, answered_after) in enumerate(requests):
        for _ in range(100_000):
            while events and events[0][0] <= now:
                _, name, of, answer_after = heappop(events)
                if answer_after < 0:
                    dispatcher.answered(name, Answer(AnswerClass.ACCEPTED), now)
                elif dispatcher.try_depart(name, now):
                    sent.append(now)
                    heappush(events, (now + answer_after, name, of, -1.0))
                else:
                    heappush(events, (now + 0.005, name, of, answer_after))
            if dispatcher.try_start(now, endpoint):
                break
            now += 0.005
        name = f"r-{n:04}"
        dispatcher.started(name, (), endpoint)
        if endpoint is Endpoint.STOP:
            heappush(events, (now + ready_after, name, endpoint, answered_after))
        else:
            sent.append(now)
            heappush(events, (now + answered_after, name, endpoint, -1.0))
    assert busiest(sent, 1.0) <= max(burst, ceil(rps))
    assert busiest(sent, 60.0) <= 60 * rps + burst
