from itertools import count

import pytest

from consumer.model.provider import Answer
from consumer.model.terminations import AnswerClass
from consumer.terminate.breaker import BREAKER_FAILURES, BREAKER_SECONDS, FIRST_CONCURRENT, PROBE_SECONDS, Endpoint
from consumer.terminate.dispatcher import AHEAD_FADES, MOST_AHEAD_SECONDS, Dispatcher, bisected
from tests.unit.values import account

START = 1_800_000_000.0
MAX_CONCURRENT = 16
INFINITY = float("inf")
ACCEPTED, UNKNOWN, THROTTLED = Answer(AnswerClass.ACCEPTED), Answer(AnswerClass.UNKNOWN), Answer(AnswerClass.THROTTLED)
REFUSED = Answer(AnswerClass.CREDENTIALS, "invalid key")


class Desk:
    """A dispatcher whose rate never matters, and a clock that goes to the next moment something may be sent."""

    def __init__(self) -> None:
        self.now = START
        self.dispatcher = Dispatcher(
            account(rate_limit={"requests_per_second": 1_000, "burst": 1_000}), now=START - 10.0
        )
        self._names = (f"request-{n}" for n in count())

    def start(self, endpoint: Endpoint = Endpoint.STOP) -> str:
        """Begin a request; one that stops calls is being prepared then."""
        due = self.dispatcher.next_at(self.now, endpoint)
        assert due < INFINITY
        self.now = max(self.now, due)
        assert self.dispatcher.try_start(self.now, endpoint)
        name = next(self._names)
        self.dispatcher.started(name, (f"t-{name}",), endpoint)
        return name

    def exchange(self, answer: Answer, endpoint: Endpoint = Endpoint.STOP) -> float:
        """Send one request and take its answer at once; gives when its calls may be sent again."""
        return self.dispatcher.answered(self.send(endpoint), answer, self.now)

    def send(self, endpoint: Endpoint = Endpoint.STOP) -> str:
        """Begin a request and let it leave."""
        name = self.start(endpoint)
        assert endpoint is not Endpoint.STOP or self.leaves(name)
        return name

    def leaves(self, name: str) -> bool:
        return self.dispatcher.try_depart(name, self.now)

    @property
    def wait(self) -> float:
        return self.dispatcher.next_at(self.now) - self.now

    @property
    def concurrency(self) -> int:
        return self.dispatcher.health(self.now).concurrency

    def is_probing(self) -> bool:
        return self.dispatcher.batch_size == 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_five_failures_in_a_row_open_the_breaker(desk: Desk) -> None:
    for _ in range(BREAKER_FAILURES - 1):
        desk.exchange(UNKNOWN)
    assert (desk.wait, desk.dispatcher.batch_size) == (0.0, 100)
    desk.exchange(Answer(AnswerClass.NOT_SENT))
    assert desk.wait == BREAKER_SECONDS[0]
    assert desk.dispatcher.health(desk.now).breaker == "open"
    assert not desk.dispatcher.try_start(desk.now + BREAKER_SECONDS[0] - 0.1)


def test_an_answer_in_between_keeps_the_breaker_closed(desk: Desk) -> None:
    for _ in range(3):
        for _ in range(BREAKER_FAILURES - 1):
            desk.exchange(UNKNOWN)
        desk.exchange(Answer(AnswerClass.NONE_TERMINABLE))
    assert desk.wait == 0.0


def test_every_other_request_failing_opens_the_breaker_too(desk: Desk) -> None:
    for _ in range(9):
        desk.exchange(UNKNOWN)
        desk.exchange(ACCEPTED)
    assert desk.dispatcher.health(desk.now).breaker == "closed"
    desk.exchange(ACCEPTED)
    desk.exchange(UNKNOWN)
    assert desk.dispatcher.health(desk.now).breaker == "open"


def test_half_open_sends_one_call_and_closes_when_it_is_answered(desk: Desk) -> None:
    for _ in range(BREAKER_FAILURES):
        desk.exchange(UNKNOWN)
    probe = desk.start()
    assert desk.now == START + BREAKER_SECONDS[0]
    assert (desk.is_probing(), desk.wait) == (True, INFINITY)
    assert desk.dispatcher.health(desk.now).breaker == "half_open"
    desk.dispatcher.answered(probe, ACCEPTED, desk.now)
    assert (desk.is_probing(), desk.wait) == (False, 0.0)
    assert desk.dispatcher.health(desk.now).breaker == "closed"


def test_each_probe_that_fails_waits_longer_up_to_a_bound(desk: Desk) -> None:
    for _ in range(BREAKER_FAILURES):
        desk.exchange(UNKNOWN)
    waits = []
    for _ in range(6):
        waits.append(desk.wait)
        desk.exchange(UNKNOWN)
    assert waits == [*BREAKER_SECONDS, BREAKER_SECONDS[-1], BREAKER_SECONDS[-1]]


def test_requests_that_were_in_flight_when_the_breaker_opened_do_not_open_it_further(desk: Desk) -> None:
    for _ in range(MAX_CONCURRENT):
        desk.exchange(ACCEPTED)
    in_flight = [desk.start() for _ in range(MAX_CONCURRENT)]
    for name in in_flight:  # the provider has died, and all of them time out
        desk.dispatcher.answered(name, UNKNOWN, desk.now)
    assert desk.wait == BREAKER_SECONDS[0]


@pytest.mark.parametrize("answer", [AnswerClass.CREDENTIALS, AnswerClass.PERMISSION, AnswerClass.CONFIGURATION])
def test_a_refusal_of_the_account_holds_everything_and_probes_once_a_minute(desk: Desk, answer: AnswerClass) -> None:
    assert desk.exchange(Answer(answer, "why")) == desk.now  # nothing is dropped: the calls wait like all others
    assert desk.dispatcher.health(desk.now).held == f"{answer}: why"
    for _ in range(3):
        assert (desk.is_probing(), desk.wait) == (True, PROBE_SECONDS)
        desk.exchange(Answer(answer))
    desk.exchange(ACCEPTED)
    assert (desk.dispatcher.health(desk.now).held, desk.is_probing(), desk.wait) == (None, False, 0.0)


@pytest.mark.parametrize("answer", [UNKNOWN, Answer(AnswerClass.NOT_SENT), THROTTLED])
def test_an_answer_that_says_nothing_about_the_key_keeps_the_hold_and_its_minute(desk: Desk, answer: Answer) -> None:
    earlier = desk.start()
    desk.exchange(REFUSED)
    desk.dispatcher.answered(earlier, answer, desk.now)
    for _ in range(3):
        assert desk.is_probing()
        assert desk.dispatcher.health(desk.now).held
        assert desk.wait >= PROBE_SECONDS
        desk.exchange(answer)


def test_throttling_waits_as_long_as_the_provider_asks(desk: Desk) -> None:
    again_at = desk.exchange(Answer(AnswerClass.THROTTLED, retry_after_seconds=17.0))
    assert (again_at, desk.wait) == (desk.now + 17.0, 17.0)
    assert not desk.dispatcher.try_start(desk.now + 16.9)
    assert desk.dispatcher.try_start(desk.now + 17.0)


def test_throttling_without_a_time_backs_off_and_forgets_when_it_is_over(desk: Desk) -> None:
    waits = []
    for _ in range(7):
        desk.exchange(THROTTLED)
        waits.append(desk.wait)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    desk.exchange(ACCEPTED)
    desk.exchange(THROTTLED)
    assert desk.wait == 1.0


def test_a_volley_of_429_is_one_reason_to_slow_down(desk: Desk) -> None:
    for _ in range(MAX_CONCURRENT):
        desk.exchange(ACCEPTED)
    assert desk.concurrency == MAX_CONCURRENT
    for name in [desk.start() for _ in range(MAX_CONCURRENT)]:
        desk.dispatcher.answered(name, THROTTLED, desk.now)
    assert (desk.wait, desk.concurrency) == (1.0, MAX_CONCURRENT // 2)


def test_concurrency_grows_while_all_is_well_and_stays_within_its_bounds(desk: Desk) -> None:
    assert desk.concurrency == FIRST_CONCURRENT
    for _ in range(50):
        desk.exchange(ACCEPTED)
    assert desk.concurrency == MAX_CONCURRENT
    for _ in range(4):
        desk.exchange(UNKNOWN)
    assert desk.concurrency == 1


def test_no_more_than_the_concurrency_is_ever_in_flight(desk: Desk) -> None:
    names = [desk.send() for _ in range(FIRST_CONCURRENT)]
    assert desk.wait == INFINITY
    assert not desk.dispatcher.try_start(desk.now + 999.0)
    desk.dispatcher.answered(names[0], ACCEPTED, desk.now)
    assert desk.wait == 0.0


def test_while_as_many_have_left_as_may_the_next_are_prepared_and_stay(desk: Desk) -> None:
    first = [desk.start() for _ in range(FIRST_CONCURRENT)]
    assert desk.wait == INFINITY
    assert all(map(desk.leaves, first[1:]))
    second = [desk.start() for _ in range(FIRST_CONCURRENT - 1)]
    assert [desk.leaves(name) for name in (first[0], *second)] == [True, False, False, False]
    assert desk.dispatcher.health(desk.now).in_flight == FIRST_CONCURRENT
    desk.dispatcher.answered(first[2], ACCEPTED, desk.now)
    assert desk.leaves(second[0])


def test_a_place_is_taken_as_long_ahead_as_requests_have_lately_needed_to_be_ready() -> None:
    dispatcher = Dispatcher(account(rate_limit={"requests_per_second": 10, "burst": 1}), now=START - 10.0)

    def prepare(name: str, at: float, seconds: float) -> None:
        assert dispatcher.try_start(at)
        dispatcher.started(name, ())
        dispatcher.prepared(name, at + seconds)

    prepare("first", START, 0.04)
    assert dispatcher.try_depart("first", START + 0.04)
    assert dispatcher.next_at(START + 0.04) == pytest.approx(START + 0.14 - 0.04)
    prepare("second", START + 0.10, 0.01)
    assert not dispatcher.try_depart("second", START + 0.11)
    assert dispatcher.next_at(START + 0.11) == pytest.approx(START + 0.24 - 0.04 * AHEAD_FADES)
    assert dispatcher.try_depart("second", START + 0.14)


def test_however_long_they_take_nothing_is_chosen_long_before_it_may_leave(desk: Desk) -> None:
    dispatcher = Dispatcher(account(rate_limit={"requests_per_second": 0.1, "burst": 1}), now=START - 100.0)
    assert dispatcher.try_start(START)
    dispatcher.started("slow", ())
    dispatcher.prepared("slow", START + 8.0)
    assert dispatcher.try_depart("slow", START + 8.0)
    assert dispatcher.next_at(START + 8.0) == pytest.approx(START + 18.0 - MOST_AHEAD_SECONDS)


def test_a_request_is_late_once_it_could_leave_and_is_not_prepared(desk: Desk) -> None:
    assert not desk.dispatcher.is_late(desk.now)
    name = desk.start()
    assert desk.dispatcher.is_late(desk.now)
    assert desk.leaves(name)
    assert not desk.dispatcher.is_late(desk.now)


@pytest.mark.parametrize("answer", [REFUSED, Answer(AnswerClass.THROTTLED, retry_after_seconds=20.0)])
def test_what_is_prepared_stays_once_the_provider_wants_nothing(desk: Desk, answer: Answer) -> None:
    sent, prepared = desk.send(), desk.start()
    desk.dispatcher.answered(sent, answer, desk.now)
    assert not desk.leaves(prepared)
    desk.now += 19.0
    assert not desk.leaves(prepared)


def test_a_request_that_we_did_not_let_leave_teaches_nothing(desk: Desk) -> None:
    for _ in range(2 * BREAKER_FAILURES):
        desk.dispatcher.stayed(desk.start())
    assert (desk.wait, desk.concurrency) == (0.0, FIRST_CONCURRENT)
    assert desk.dispatcher.health(desk.now).breaker == "closed"


def test_calls_are_busy_until_their_outcome_is_in_the_ledger(desk: Desk) -> None:
    name = desk.start()
    desk.dispatcher.pinned.append(("t-a", "t-b"))
    desk.dispatcher.answered(name, ACCEPTED, desk.now)
    assert desk.dispatcher.busy_ids == {f"t-{name}", "t-a", "t-b"}
    desk.dispatcher.folded(name)
    desk.dispatcher.folded("never started")
    assert desk.dispatcher.busy_ids == {"t-a", "t-b"}


def test_calls_of_a_request_that_was_cut_stay_busy_while_a_part_of_it_is_on_its_way(desk: Desk) -> None:
    whole, half = ("t-a", "t-b"), ("t-b",)
    desk.dispatcher.started("whole", whole)
    desk.dispatcher.started("half", half)
    desk.dispatcher.folded("whole")
    assert desk.dispatcher.busy_ids == {"t-b"}


def test_not_found_again_and_again_is_a_wrong_address_until_something_else_is_answered(desk: Desk) -> None:
    nothing = Answer(AnswerClass.NOT_FOUND, "no such page")
    told = [desk.dispatcher.understood(nothing, 100).answer for _ in range(6)]
    assert told == [AnswerClass.NOT_FOUND] * 4 + [AnswerClass.CONFIGURATION] * 2
    assert desk.dispatcher.understood(nothing, 1).answer is AnswerClass.CONFIGURATION
    assert desk.dispatcher.understood(ACCEPTED, 1) == ACCEPTED
    assert {desk.dispatcher.understood(nothing, 1).answer for _ in range(20)} == {AnswerClass.NOT_FOUND}


def test_concurrency_never_exceeds_what_is_configured() -> None:
    limit = {"requests_per_second": 1_000, "burst": 1_000, "concurrency": 2}
    dispatcher = Dispatcher(account(rate_limit=limit), now=START)
    for n in range(10):
        dispatcher.started(f"r-{n}", ())
        dispatcher.answered(f"r-{n}", ACCEPTED, START + n)
    assert dispatcher.health(START + 10).concurrency == 2


def test_one_bad_id_of_a_hundred_is_found_in_seven_halvings() -> None:
    batch, depth = tuple(str(n) for n in range(100)), 0
    while len(batch) > 1:
        left, right = bisected(batch)
        assert left + right == batch
        batch, depth = left if "77" in left else right, depth + 1
    assert batch == ("77",)
    assert depth <= 7


def test_requests_of_which_every_third_fails_are_repeated_more_and_more_slowly(desk: Desk) -> None:
    waits = []
    for _ in range(30):
        waits.append(desk.exchange(UNKNOWN) - desk.now)
        desk.exchange(ACCEPTED)
        desk.exchange(ACCEPTED)
        desk.now += 0.1
    assert waits[0] == 0.5
    assert waits[-1] > 20.0


@pytest.mark.parametrize("reading", [Endpoint.LOOK, Endpoint.HISTORY])
@pytest.mark.parametrize("answer", [Answer(AnswerClass.PERMISSION, "not the history"), UNKNOWN, THROTTLED])
def test_what_is_wrong_with_reading_calls_holds_up_no_stop_and_the_other_way_round(
    desk: Desk, reading: Endpoint, answer: Answer
) -> None:
    for _ in range(BREAKER_FAILURES):
        desk.exchange(answer, reading)
    assert (desk.wait, desk.is_probing(), desk.concurrency) == (0.0, False, FIRST_CONCURRENT)
    assert desk.dispatcher.health(desk.now).held is None
    assert not desk.dispatcher.is_open(desk.now, reading)
    assert desk.dispatcher.is_open(desk.now, Endpoint.STOP)
    desk.exchange(ACCEPTED, Endpoint.STOP)
    assert not desk.dispatcher.is_open(desk.now, reading)
    for _ in range(BREAKER_FAILURES):
        desk.exchange(UNKNOWN, Endpoint.STOP)
    other = ({Endpoint.LOOK, Endpoint.HISTORY} - {reading}).pop()
    assert not desk.dispatcher.is_open(desk.now, Endpoint.STOP)
    assert desk.dispatcher.is_open(desk.now, other)


def test_a_key_that_is_refused_anywhere_holds_everything_and_one_probe_a_minute_tries_it(desk: Desk) -> None:
    desk.exchange(REFUSED, Endpoint.HISTORY)
    assert all(desk.dispatcher.health(desk.now).holds.values())
    assert (desk.is_probing(), desk.wait) == (True, PROBE_SECONDS)
    probe = desk.start()
    assert {desk.dispatcher.next_at(desk.now, endpoint) for endpoint in Endpoint} == {INFINITY}
    desk.dispatcher.answered(probe, ACCEPTED, desk.now)
    assert not any(desk.dispatcher.health(desk.now).holds.values())


def test_all_endpoints_together_keep_within_what_is_configured() -> None:
    limit = {"requests_per_second": 1_000, "burst": 1_000, "concurrency": 4}
    dispatcher = Dispatcher(account(rate_limit=limit), now=START - 10.0)
    for n, endpoint in enumerate((*Endpoint, Endpoint.STOP)):
        assert dispatcher.try_start(START, endpoint)
        dispatcher.started(f"r-{n}", (), endpoint)
        assert endpoint is not Endpoint.STOP or dispatcher.try_depart(f"r-{n}", START)
    assert {dispatcher.next_at(START, endpoint) for endpoint in Endpoint} == {INFINITY}


def test_while_the_account_is_held_one_request_is_in_flight_at_most_however_well_it_went_before(desk: Desk) -> None:
    for _ in range(MAX_CONCURRENT):
        desk.exchange(ACCEPTED)
    desk.exchange(REFUSED)
    desk.start()
    assert (desk.concurrency, desk.wait) == (MAX_CONCURRENT, INFINITY)


def test_what_a_failing_provider_asks_for_is_waited_for(desk: Desk) -> None:
    again_at = desk.exchange(Answer(AnswerClass.UNKNOWN, retry_after_seconds=17.0))
    assert (again_at, desk.wait) == (desk.now + 17.0, 17.0)


def test_a_batch_that_was_set_aside_leaves_in_parts_while_only_probes_do(desk: Desk) -> None:
    desk.dispatcher.pinned.extend([("t-a", "t-b", "t-c"), ("t-d", "t-e")])
    desk.exchange(REFUSED)
    assert [desk.dispatcher.next_pinned(), desk.dispatcher.next_pinned()] == [("t-a",), ("t-b",)]
    desk.exchange(ACCEPTED)
    assert [desk.dispatcher.next_pinned(), desk.dispatcher.next_pinned()] == [("t-c",), ("t-d", "t-e")]
