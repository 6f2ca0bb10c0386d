"""When an account's failed requests are repeated."""

from itertools import pairwise

import pytest

from consumer.terminate.retries import AT_ONCE, LONGEST_SECONDS, Retries

START = 1_000.0
PER_SECOND = 50


def failing(share: float, seconds: int, *, every: float = 1.0 / PER_SECOND) -> tuple[int, list[float]]:
    """Let a share of an account's first tries fail for a while; gives how many were sent, and the turns of the rest."""
    retries, now, failed, turns, sent = Retries(PER_SECOND), START, 0.0, [], 0
    while now < START + seconds:
        retries.sent(now)
        sent += 1
        failed += share
        if failed >= 1.0:
            failed -= 1.0
            turns.append(retries.turn(now + 0.5, now))
        now += every
    return sent, turns


@pytest.mark.parametrize("every", [1 / PER_SECOND, 0.5, 3.0])
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_a_provider_that_fails_is_asked_a_tenth_more_often_at_most(share: float, every: float) -> None:
    sent, turns = failing(share, 120, every=every)
    repeated = [turn for turn in turns if turn < START + 120]
    assert len(repeated) <= max(0.1 * sent, 120 / LONGEST_SECONDS) + 2 * AT_ONCE


def test_each_repetition_has_its_turn_however_many_there_are() -> None:
    _, turns = failing(0.5, 60)
    assert len(turns) == 60 * PER_SECOND // 2
    assert turns == sorted(turns)
    assert max(later - turn for turn, later in pairwise(turns)) <= LONGEST_SECONDS


def test_a_few_that_fail_together_are_repeated_at_once() -> None:
    retries = Retries(PER_SECOND)
    turns = [retries.turn(START + 0.5, START) for _ in range(AT_ONCE + 1)]
    assert turns[:AT_ONCE] == [START + 0.5] * AT_ONCE
    assert turns[AT_ONCE] == START + 0.5 + LONGEST_SECONDS


def test_the_allowance_is_there_again_after_a_while() -> None:
    retries = Retries(PER_SECOND)
    for _ in range(AT_ONCE):
        retries.turn(START, START)
    later = START + AT_ONCE * LONGEST_SECONDS
    assert [retries.turn(later, later) for _ in range(AT_ONCE)] == [later] * AT_ONCE


def test_an_account_in_full_swing_repeats_a_tenth_of_its_rate() -> None:
    _, turns = failing(0.5, 120)
    in_a_minute = [turn for turn in turns if START + 60 <= turn < START + 120]
    assert 0.09 * 60 * PER_SECOND <= len(in_a_minute) <= 0.11 * 60 * PER_SECOND
