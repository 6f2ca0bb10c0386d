"""What the log has forgotten leaves the ledger too, a few rows at a time; what is not over stays, however old."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.kafka import ledger_forgetting
from consumer.kafka.ledger import LISTED_SCHEMA, Ledger
from consumer.kafka.view import View
from consumer.model.orders import Mode
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, State
from tests.unit.test_ledger import steps
from tests.unit.values import ACCOUNT, answered, attempt, closed, decision, ended

KEEP_SECONDS = 10_000.0
LONG_AFTER = 100_000.0
ORDER = "order-1"


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    opened = View(tmp_path / "0.sqlite", LISTED_SCHEMA, cluster_id="c")
    yield opened
    opened.close()


def opened(view: View) -> Ledger:
    return Ledger(view.connection, steps, listed=True, keep_seconds=KEEP_SECONDS)


@pytest.fixture
def ledger(view: View) -> Ledger:
    return opened(view)


def save(ledger: Ledger, view: View) -> None:
    with view.transaction({}) as connection:
        while ledger.save(connection):
            pass


def stop(ledger: Ledger, call_id: str, at: float = 1_000.0) -> None:
    """Have a call stopped and confirmed, all of it about ``at``."""
    ledger.fold(decision(call_id, decided_at=at))
    ledger.fold(attempt(call_id=call_id, at=at + 1))
    ledger.fold(answered(AnswerClass.ACCEPTED, call_id=call_id, at=at + 2))
    ledger.fold(ended(Status.CANCELLED, call_id=call_id, at=at + 3))


def forget(ledger: Ledger, view: View, log_time: float) -> int:
    """Forget until nothing is left to; gives how often was looked."""
    looks = 1
    while ledger.forget(log_time) or ledger.forgetting:
        looks += 1
        save(ledger, view)
    return looks


def listed(ledger: Ledger) -> set[str]:
    return {t.call_id for t in ledger.page({}, before=None, limit=10_000)}


def test_what_is_over_and_old_goes_with_everything_it_is_found_by(ledger: Ledger, view: View) -> None:
    stop(ledger, "old")
    stop(ledger, "young", at=LONG_AFTER - KEEP_SECONDS + 1)
    save(ledger, view)
    forget(ledger, view, LONG_AFTER)
    for known in (ledger, opened(view)):
        assert listed(known) == {"young"}
        assert known.of_call(ACCOUNT, "old") == []
        assert [t.call_id for t in known.page({"order_id": ORDER}, before=None, limit=10)] == ["young"]
        assert known.totals() == {State.CONFIRMED: 1}
        assert known.get(decision("old").termination_id) is None
    ((links,),) = view.connection.execute("SELECT count(*) FROM termination_orders").fetchall()
    assert links == 1


def test_counts_of_an_order_stay_when_its_terminations_are_forgotten(ledger: Ledger, view: View) -> None:
    for n in range(5):
        stop(ledger, f"call-{n}")
    save(ledger, view)
    before = ledger.counts(ORDER)
    assert before["confirmed"] == 5
    forget(ledger, view, LONG_AFTER)
    assert listed(ledger) == set()
    assert ledger.counts(ORDER) == opened(view).counts(ORDER) == before


def test_what_is_not_over_stays_however_old_and_does_not_hide_what_lies_behind_it(ledger: Ledger, view: View) -> None:
    waiting = {f"waits-{n}" for n in range(3 * ledger_forgetting.LOOKED_AT_ONCE)}
    for call_id in sorted(waiting):
        ledger.fold(decision(call_id))
    stop(ledger, "old")
    ledger.fold(decision("in-shadow", mode=Mode.SHADOW))
    save(ledger, view)
    forget(ledger, view, LONG_AFTER)
    assert listed(ledger) == waiting
    assert ledger.backlog(ACCOUNT) == len(waiting)
    assert len(ledger.to_send(ACCOUNT, LONG_AFTER, 10_000, set())) == len(waiting)


def test_news_of_an_old_decision_keep_it_and_a_provider_whose_clock_is_wrong_does_not(
    ledger: Ledger, view: View
) -> None:
    stop(ledger, "corrected")
    ledger.fold(closed(call_id="corrected", at=LONG_AFTER - 1, outcome=State.MISSED))
    stop(ledger, "from-the-future")
    ledger.fold(ended(Status.COMPLETED, call_id="from-the-future", at=10 * LONG_AFTER))
    save(ledger, view)
    forget(ledger, view, LONG_AFTER)
    assert listed(ledger) == {"corrected"}


def test_of_what_only_the_log_tells_nothing_stays_either(ledger: Ledger, view: View) -> None:
    ledger.fold(attempt(call_id="no-decision"))
    ledger.fold(attempt(call_id="no-decision-yet", at=LONG_AFTER))
    save(ledger, view)
    forget(ledger, view, LONG_AFTER)
    assert listed(ledger) == {"no-decision-yet"}


def test_what_changes_between_the_choice_and_the_save_is_not_forgotten(ledger: Ledger, view: View) -> None:
    stop(ledger, "changed")
    stop(ledger, "left")
    save(ledger, view)
    assert ledger.forget(LONG_AFTER)
    ledger.fold(answered(AnswerClass.ACCEPTED, n=2, call_id="changed", at=LONG_AFTER))
    save(ledger, view)
    for known in (ledger, opened(view)):
        assert listed(known) == {"changed"}
        assert known.totals() == {State.CONFIRMED: 1}


def test_a_forgotten_one_that_is_decided_again_is_written_as_new(ledger: Ledger, view: View) -> None:
    stop(ledger, "call")
    save(ledger, view)
    forget(ledger, view, LONG_AFTER)
    assert ledger.fold(ended(Status.COMPLETED, call_id="call")) == (None, None)
    ledger.fold(decision("call", decided_at=LONG_AFTER))
    save(ledger, view)
    assert [t.attempts for t in opened(view).of_call(ACCOUNT, "call")] == [()]


def test_few_are_looked_at_and_deleted_in_one_go_and_the_front_is_looked_at_only_now_and_then(
    ledger: Ledger, view: View
) -> None:
    calls = 3 * ledger_forgetting.CHOSEN_AT_MOST
    for n in range(calls):
        stop(ledger, f"call-{n}")
    save(ledger, view)
    chosen = 0
    while ledger.forget(LONG_AFTER):
        chosen += 1
    assert chosen == ledger_forgetting.CHOSEN_AT_MOST / ledger_forgetting.LOOKED_AT_ONCE
    with view.transaction({}) as connection:
        assert ledger.save(connection)
        assert len(listed(ledger)) == calls - ledger_forgetting.DELETED_AT_ONCE
        while ledger.save(connection):
            pass
    assert len(listed(ledger)) == calls - ledger_forgetting.CHOSEN_AT_MOST
    forget(ledger, view, LONG_AFTER)
    stop(ledger, "old-too")
    save(ledger, view)
    assert forget(ledger, view, LONG_AFTER + ledger_forgetting.LOOK_EVERY_SECONDS - 1) == 1
    assert listed(ledger) == {"old-too"}
    forget(ledger, view, LONG_AFTER + ledger_forgetting.LOOK_EVERY_SECONDS)
    assert listed(ledger) == set()


def test_a_ledger_that_is_told_of_no_time_forgets_nothing(view: View) -> None:
    ledger = Ledger(view.connection, steps, listed=True)
    stop(ledger, "old")
    save(ledger, view)
    assert not ledger.forget(LONG_AFTER)
    assert listed(ledger) == {"old"}
