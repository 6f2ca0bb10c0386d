import sqlite3
from itertools import permutations

import pytest

from consumer.model.terminations import AnswerClass, Result
from consumer.terminate.breaker import PROBE_SECONDS, Endpoint
from consumer.terminate.dispatcher import Dispatcher
from consumer.terminate.handover import SCHEMA, Standing, Standings
from tests.unit.values import ACCOUNT, account, answered

NOW = 1_800_000_000.0
MOMENT = 5_000.0
"""The same moment as ``NOW``, on the dispatcher's clock."""

THROTTLED = answered(AnswerClass.THROTTLED, 1, NOW - 5, retry_at=NOW + 20, detail="slower")
REFUSED = answered(AnswerClass.CREDENTIALS, 2, NOW - 10, retry_at=NOW - 10, detail="invalid key")
WELL = answered(AnswerClass.ACCEPTED, 3, NOW - 1)
UNKNOWN = answered(AnswerClass.UNKNOWN, 4, NOW - 1)


def taken_over(*results: Result) -> Dispatcher:
    standing = Standing()
    for result in results:
        standing.answered(result)
    dispatcher = Dispatcher(account(), now=MOMENT - 100.0)
    standing.hand_over(dispatcher, NOW, MOMENT)
    return dispatcher


def next_at(dispatcher: Dispatcher) -> float:
    return dispatcher.next_at(MOMENT, Endpoint.STOP)


def test_a_new_owner_waits_as_long_as_the_last_one_was_told_to() -> None:
    sooner = answered(AnswerClass.THROTTLED, 5, NOW - 1, retry_at=NOW + 2)
    for results in permutations((THROTTLED, sooner, WELL)):
        assert next_at(taken_over(*results)) == pytest.approx(MOMENT + 20)


def test_a_new_owner_probes_an_account_that_is_refused_and_sends_nothing_else() -> None:
    for results in permutations((REFUSED, UNKNOWN)):
        dispatcher = taken_over(*results)
        assert next_at(dispatcher) == pytest.approx(MOMENT - 10 + PROBE_SECONDS)
        assert dispatcher.batch_size == 1
        assert dispatcher.health(MOMENT).held == "credentials: invalid key"


def test_what_is_over_holds_nobody_up() -> None:
    past = answered(AnswerClass.THROTTLED, 1, NOW - 30, retry_at=NOW - 1)
    for results in [(), (WELL,), (past,), *permutations((REFUSED, WELL))]:
        dispatcher = taken_over(*results)
        assert next_at(dispatcher) <= MOMENT
        assert dispatcher.health(MOMENT).held is None


def test_a_refusal_of_long_ago_is_probed_at_once() -> None:
    long_ago = answered(AnswerClass.CREDENTIALS, 2, NOW - 3_600.0)
    dispatcher = taken_over(long_ago)
    assert next_at(dispatcher) <= MOMENT
    assert dispatcher.batch_size == 1


def test_what_stands_is_known_to_who_goes_on_from_the_view() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    standings = Standings(connection)
    for result in (THROTTLED, REFUSED, WELL):
        standings.answered(result)
        standings.save(connection)
    assert Standings(connection).of(ACCOUNT).answers == standings.of(ACCOUNT).answers
    assert set(standings.of(ACCOUNT).answers.values()) == {THROTTLED, WELL}
    assert Standings(connection).of("another").answers == {}
