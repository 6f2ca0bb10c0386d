import pytest

from consumer.model.orders import Mode
from consumer.model.status import Status
from consumer.model.terminations import (
    COUNTS,
    AnswerClass,
    Record,
    State,
    Termination,
    contribution,
    fold_termination,
)
from tests.unit.values import answered, attempt, closed, decision, ended


def told(*records: Record) -> Termination:
    termination: Termination | None = None
    for record in records:
        termination = fold_termination(termination, record)
    assert termination is not None
    return termination


AFTER = {
    AnswerClass.ACCEPTED: (State.ACCEPTED, 1),
    AnswerClass.NONE_TERMINABLE: (State.UNKNOWN, 1),
    AnswerClass.UNKNOWN: (State.UNKNOWN, 1),
    AnswerClass.CONFLICT: (State.UNKNOWN, 1),
    AnswerClass.NOT_SENT: (State.WAITING, 0),
    AnswerClass.THROTTLED: (State.WAITING, 0),
    AnswerClass.CREDENTIALS: (State.WAITING, 0),
    AnswerClass.PERMISSION: (State.WAITING, 0),
    AnswerClass.POISON: (State.WAITING, 0),
    AnswerClass.NOT_FOUND: (State.WAITING, 0),
    AnswerClass.CONFIGURATION: (State.WAITING, 0),
}


@pytest.mark.parametrize("answer", AnswerClass)
def test_each_class_of_answer_has_its_state_and_counts_as_a_send_or_not(answer: AnswerClass) -> None:
    t = told(decision(), attempt(), answered(answer))
    assert (t.state, t.sends) == AFTER[answer]
    assert not t.state.over


def test_a_decision_waits_until_the_attempt_is_written() -> None:
    assert told(decision()).state is State.WAITING
    assert told(decision(), attempt()).state is State.REQUESTED
    assert told(decision(), attempt()).sends == 1


def test_the_latest_attempt_decides_though_an_earlier_answer_comes_after_it() -> None:
    t = told(decision(), attempt(1), attempt(2, 1_050.0), answered(AnswerClass.ACCEPTED, 1))
    assert (t.state, t.sends, t.accepted) == (State.REQUESTED, 2, True)


@pytest.mark.parametrize(
    ("status", "asked", "state"),
    [
        (Status.CANCELLED, True, State.CONFIRMED),
        (Status.CANCELLED, False, State.MISSED),  # somebody else has cancelled it
        (Status.ONGOING, True, State.MISSED),
        (Status.COMPLETED, True, State.MISSED),
        (Status.FAILED, False, State.MISSED),
    ],
)
def test_how_the_call_left_the_queue_settles_it(status: Status, asked: bool, state: State) -> None:
    requests: list[Record] = [attempt(), answered(AnswerClass.UNKNOWN)] if asked else []
    assert told(decision(), *requests, ended(status)).state is state


def test_a_cancelled_call_whose_only_request_was_refused_is_not_our_doing() -> None:
    t = told(decision(), attempt(), answered(AnswerClass.THROTTLED), ended(Status.CANCELLED))
    assert t.state is State.MISSED


def test_a_late_webhook_corrects_an_outcome() -> None:
    t = told(decision(), attempt(), answered(AnswerClass.ACCEPTED), closed(outcome=State.UNCONFIRMED))
    assert t.state is State.UNCONFIRMED
    assert fold_termination(t, ended(Status.CANCELLED)).state is State.CONFIRMED


def test_missed_says_by_how_many_seconds() -> None:
    t = told(decision(), attempt(at=1_010.0), answered(AnswerClass.ACCEPTED), ended(Status.ONGOING, at=1_007.5))
    assert t.missed_by_seconds == 2.5
    assert told(decision(), attempt(at=1_010.0), ended(Status.ONGOING, at=1_020.0)).missed_by_seconds == 0.0
    assert told(decision(), ended(Status.ONGOING)).missed_by_seconds is None


def test_a_shadow_decision_is_never_waiting() -> None:
    shadow = told(decision(mode=Mode.SHADOW))
    assert shadow.state is State.SHADOW
    assert told(decision(mode=Mode.SHADOW), ended(Status.ONGOING)).state is State.SHADOW
    assert fold_termination(shadow, decision(orders=("order-2",))).state is State.WAITING


@pytest.mark.parametrize("outcome", [State.WITHDRAWN, State.EXPIRED])
def test_another_order_takes_up_a_call_that_was_given_up(outcome: State) -> None:
    given_up = told(decision(), closed(outcome=outcome))
    assert given_up.state is outcome
    assert fold_termination(given_up, decision(decided_at=1_300.0)).state is outcome  # the same order once more
    again = fold_termination(given_up, decision(orders=("order-1", "order-2"), decided_at=1_300.0))
    assert again.state is State.WAITING
    assert fold_termination(again, closed(outcome=outcome, at=1_400.0, orders=again.orders)).state is outcome


@pytest.mark.parametrize("outcome", [State.UNCONFIRMED, State.NOT_FOUND, State.FAILED])
def test_what_was_sent_in_vain_is_not_taken_up_again(outcome: State) -> None:
    done = told(decision(), attempt(), answered(AnswerClass.ACCEPTED), closed(outcome=outcome))
    assert fold_termination(done, decision(orders=("order-2",))).state is outcome


def test_the_most_urgent_lane_and_the_most_serious_mode_win() -> None:
    t = told(decision(lane=2, mode=Mode.SHADOW, decided_at=9.0), decision(lane=0, orders=("order-0",), decided_at=5.0))
    assert (t.lane, t.mode, t.decided_at, t.orders) == (0, Mode.ENFORCE, 5.0, ("order-0", "order-1"))


def test_a_termination_adds_one_to_each_count_it_has_reached() -> None:
    t = told(decision(), attempt(), answered(AnswerClass.ACCEPTED))
    assert contribution(t) == ("matched", "requested", "accepted")
    assert "confirmed" in contribution(fold_termination(t, ended(Status.CANCELLED)))
    assert contribution(None) == ()


def test_every_state_that_is_over_has_a_count() -> None:
    assert {state.value for state in State if state.over} <= set(COUNTS)
