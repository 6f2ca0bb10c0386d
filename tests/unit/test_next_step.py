from dataclasses import replace
from typing import Any

import msgspec
import pytest

from consumer.kafka.ledger import NOTHING, NextStep
from consumer.model.orders import Mode
from consumer.model.provider import Capabilities
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, Looked, Record, State, Termination, fold_termination
from consumer.terminate.next_step import MAX_SENDS, UNANSWERED_SECONDS, StepOf, closing_outcome, next_step
from handlers.providers.ringg import Ringg
from tests.unit.values import account, answered, attempt, closed, decision, ended

CONFIRM_WITHIN = 120.0
ACCOUNT = account(confirm_within="120s")
SEEING = Ringg.capabilities
BLIND = replace(SEEING, look_up=False, history=False)
"""A provider that cannot be asked how a call stands: only webhooks tell."""


def told(*records: Record) -> Termination:
    termination: Termination | None = None
    for record in records:
        termination = fold_termination(termination, record)
    assert termination is not None
    return termination


def looked(t: Termination, at: float, *, waiting: bool) -> Termination:
    return fold_termination(t, Looked(t.termination_id, t.account, t.call_id, t.episode, at, waiting))


def step(*records: Record, capabilities: Capabilities = BLIND) -> NextStep:
    return next_step(told(*records), ACCOUNT, capabilities)


def test_what_waits_is_sent_at_once() -> None:
    assert step(decision()) == NextStep("send", 0.0)


@pytest.mark.parametrize(
    "answer", [AnswerClass.NOT_SENT, AnswerClass.THROTTLED, AnswerClass.CREDENTIALS, AnswerClass.POISON]
)
def test_what_was_not_done_is_sent_again_when_the_dispatcher_said(answer: AnswerClass) -> None:
    assert step(decision(), attempt(), answered(answer, retry_at=1_050.0)) == NextStep("send", 1_050.0)


def test_a_request_without_an_answer_is_repeated_only_after_its_time() -> None:
    assert step(decision(), attempt(at=1_010.0)) == NextStep("send", 1_010.0 + UNANSWERED_SECONDS)


@pytest.mark.parametrize("answer", [AnswerClass.UNKNOWN, AnswerClass.CONFLICT])
def test_an_unknown_effect_waits_for_a_webhook_before_it_is_repeated(answer: AnswerClass) -> None:
    first: list[Record] = [decision(), attempt(1), answered(answer, 1, at=1_011.0)]
    assert step(*first) == NextStep("send", 1_026.0)
    second: list[Record] = [*first, attempt(2, 1_030.0), answered(answer, 2, at=1_031.0)]
    assert step(*second) == NextStep("send", 1_061.0)
    assert step(*first[:-1], answered(answer, 1, at=1_011.0, retry_at=1_200.0)) == NextStep("send", 1_200.0)


def test_an_accepted_stop_is_repeated_when_nothing_has_confirmed_it() -> None:
    accepted: list[Record] = [decision(), attempt(), answered(AnswerClass.ACCEPTED, at=1_011.0)]
    assert step(*accepted) == NextStep("send", 1_011.0 + CONFIRM_WITHIN)


def test_after_three_sends_it_is_closed_as_unconfirmed() -> None:
    records: list[Record] = [decision()]
    for n in range(1, MAX_SENDS + 1):
        records += [attempt(n, 1_000.0 * n), answered(AnswerClass.ACCEPTED, n, at=1_000.0 * n + 1)]
    assert step(*records) == NextStep("close", 3_001.0 + CONFIRM_WITHIN)
    outcome, reason = closing_outcome(told(*records))
    assert outcome is State.UNCONFIRMED
    assert reason.startswith("3 requests")


def test_nothing_to_terminate_is_not_found_when_nothing_else_was_heard_in_time() -> None:
    records: list[Record] = [decision(), attempt(), answered(AnswerClass.NONE_TERMINABLE, at=1_011.0)]
    assert step(*records) == NextStep("close", 1_011.0 + CONFIRM_WITHIN)
    assert closing_outcome(told(*records))[0] is State.NOT_FOUND


@pytest.mark.parametrize(
    "records",
    [
        [decision(), attempt(), ended(Status.CANCELLED), closed(outcome=State.CONFIRMED)],
        [decision(), ended(Status.ONGOING), closed(outcome=State.MISSED)],
        [decision(mode=Mode.SHADOW), ended(Status.ONGOING)],
        [decision(), closed(outcome=State.EXPIRED)],
        [decision(), attempt(), answered(AnswerClass.ACCEPTED), closed(outcome=State.UNCONFIRMED)],
    ],
)
def test_what_is_over_needs_nothing(records: list[Record]) -> None:
    assert step(*records) == step(*records, capabilities=SEEING) == NOTHING


@pytest.mark.parametrize("records", [[attempt(), ended(Status.CANCELLED)], [ended(Status.ONGOING)]])
def test_what_the_end_of_a_call_has_settled_is_closed_where_the_log_has_no_outcome(records: list[Record]) -> None:
    assert step(decision(), *records) == step(decision(), *records, capabilities=SEEING) == NextStep("close")


def test_a_provider_that_can_be_asked_is_asked_before_anything_is_repeated_or_closed() -> None:
    for answer in (AnswerClass.ACCEPTED, AnswerClass.UNKNOWN, AnswerClass.NONE_TERMINABLE):
        t = told(decision(), attempt(), answered(answer, at=1_011.0))
        asked = next_step(t, ACCOUNT, SEEING)
        assert asked.step == "look"
        assert next_step(looked(t, asked.at, waiting=True), ACCOUNT, SEEING).step == "send"
        assert next_step(looked(t, asked.at, waiting=False), ACCOUNT, SEEING).step == "close"


def test_terminations_of_an_account_that_was_taken_out_of_the_configuration_wait() -> None:
    steps = StepOf({ACCOUNT.name: ACCOUNT}, {"ringg": Ringg()})
    assert steps(told(decision())).step == "send"
    assert steps(msgspec.structs.replace(told(decision()), account="gone")) == NOTHING


@pytest.mark.parametrize("capabilities", [BLIND, SEEING], ids=["blind", "seeing"])
@pytest.mark.parametrize("late_answers", [False, True])
def test_no_termination_is_ever_sent_more_than_three_times(capabilities: Capabilities, late_answers: bool) -> None:
    """Every sequence of five answers, also such that come only after the next request was written."""
    answers: tuple[AnswerClass | None, ...] = (
        None,
        AnswerClass.ACCEPTED,
        AnswerClass.UNKNOWN,
        AnswerClass.THROTTLED,
        AnswerClass.NONE_TERMINABLE,
    )
    worst = 0

    def play(t: Termination, now: float, left: int, owed: Any) -> None:
        nonlocal worst
        worst = max(worst, t.sends)
        following = next_step(t, ACCOUNT, capabilities)
        if following.step == "look":
            t = looked(t, max(now, following.at), waiting=True)
            following = next_step(t, ACCOUNT, capabilities)
        if following.step != "send" or not left:
            return
        n, now = len(t.attempts) + 1, max(now, following.at) + 1
        t = fold_termination(t, attempt(n, now))
        if owed is not None:
            t = fold_termination(t, owed)
        for answer in answers:
            result = answered(answer, n, now + 0.5) if answer else None
            if late_answers:
                play(t, now + 1, left - 1, result)
            else:
                play(fold_termination(t, result) if result else t, now + 1, left - 1, None)

    play(told(decision()), 1_000.0, 5, None)
    assert worst == MAX_SENDS
