import pytest

from consumer.terminate.gathering import LONGEST_QUIET_SECONDS, SHORTEST_QUIET_SECONDS, Gathering

LINGER = 0.5


def found_at(*moments: float) -> Gathering:
    gathering = Gathering()
    for moment in moments:
        gathering.came(moment, emergency=True, bulk=True)
    return gathering


def test_the_first_call_waits_for_others_as_long_as_the_linger() -> None:
    gathering = Gathering()
    gathering.came(10.0, emergency=False, bulk=False)
    gathering.came(10.4, emergency=False, bulk=False)
    assert gathering.ready_at(LINGER) == 10.5


def test_an_operators_call_does_not_linger_nor_what_waits_with_it() -> None:
    gathering = Gathering()
    gathering.came(10.0, emergency=False, bulk=False)
    gathering.came(10.1, emergency=True, bulk=False)
    assert gathering.ready_at(LINGER) <= 10.1


def test_the_linger_begins_anew_with_the_next_call_after_all_have_left() -> None:
    gathering = found_at(10.0)
    gathering.emptied()
    assert gathering.ready_at(LINGER) < 10.0
    gathering.came(20.0, emergency=False, bulk=False)
    assert gathering.ready_at(LINGER) == 20.5


def test_what_a_search_finds_waits_until_it_has_been_quiet_for_as_long_as_it_took() -> None:
    assert found_at(10.0).ready_at(LINGER) == 10.0 + SHORTEST_QUIET_SECONDS
    assert found_at(10.0, 10.2, 10.4).ready_at(LINGER) == pytest.approx(10.8)
    assert found_at(10.0, 12.0, 14.0).ready_at(LINGER) == 14.0 + LONGEST_QUIET_SECONDS


def test_a_search_goes_on_though_all_it_has_found_have_left_meanwhile() -> None:
    gathering = found_at(10.0, 10.5)
    gathering.emptied()
    gathering.came(10.6, emergency=True, bulk=True)
    assert gathering.ready_at(LINGER) == pytest.approx(11.2)


def test_another_search_is_not_thought_to_last_since_the_one_before() -> None:
    assert found_at(10.0, 10.5, 20.0).ready_at(LINGER) == 20.0 + SHORTEST_QUIET_SECONDS
