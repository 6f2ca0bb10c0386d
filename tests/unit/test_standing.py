"""Where calls stand, a step at a time."""

import pytest

from consumer.model.calls import Progress, fold
from consumer.model.standing import NOWHERE, RETRY, step
from consumer.model.status import Status
from tests.unit.values import event


def test_an_event_that_is_no_news_leaves_the_very_same_standing_worked_out_before() -> None:
    registered = step(NOWHERE, Status.REGISTERED, 0, 0).standing
    again = step(registered, Status.REGISTERED, 0, 0)
    assert (again.standing, again.moves, again.leads) == (registered, False, False)
    assert step(NOWHERE, Status.REGISTERED, 0, 0).standing is registered


@pytest.mark.parametrize(("newer", "status"), [(1, Status.FAILED), (0, Status.FAILED), (-1, Status.COMPLETED)])
def test_of_two_final_statuses_of_an_attempt_the_later_stands_else_the_later_in_order(
    newer: int, status: Status
) -> None:
    completed = step(NOWHERE, Status.COMPLETED, 0, 1).standing
    then = step(completed, Status.FAILED, 0, newer)
    assert then.standing.status is status
    assert then.leads is (newer >= 0)
    assert then.standing.finished == (0,)


def test_a_retry_waits_for_the_next_attempt_in_an_episode_of_its_own() -> None:
    registered = step(NOWHERE, Status.REGISTERED, 0, 0)
    ongoing = step(registered.standing, Status.ONGOING, 0, 0)
    retry = step(ongoing.standing, Status.RETRY, 0, 0)
    assert [one.waits_anew for one in (registered, ongoing, retry)] == [True, False, True]
    assert (retry.standing.rank, retry.standing.awaited, retry.told_of) == (RETRY, 1, 0)
    assert step(retry.standing, Status.RETRY, 0, 1).waits_anew is False


def test_an_event_that_only_tells_a_later_time_changes_the_time_and_not_the_standing() -> None:
    call = fold(None, event("1", Status.REGISTERED, attempt=0, at=1.0))
    later = fold(call, event("2", Status.REGISTERED, attempt=0, at=2.0))
    assert later.progress == Progress(call.progress.standing, 2.0)
    earlier = fold(later, event("3", Status.REGISTERED, attempt=0, at=0.5))
    assert earlier.progress is later.progress
