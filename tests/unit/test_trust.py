import pytest

from consumer.model.terminations import AnswerClass, State
from consumer.terminate.trust import AT_LEAST, WINDOW_SECONDS, Trust

NOW = 10_000.0


def after(good: int, bad: int, outcome: State = State.UNCONFIRMED) -> Trust:
    trust = Trust()
    for _ in range(good):
        trust.settled(State.CONFIRMED, NOW)
    for _ in range(bad):
        trust.settled(outcome, NOW)
    return trust


@pytest.mark.parametrize("outcome", [State.UNCONFIRMED, State.NOT_FOUND, State.FAILED])
def test_trust_is_lost_when_more_than_half_of_what_rules_stopped_was_never_confirmed(outcome: State) -> None:
    assert after(10, 10, outcome).lost(NOW) is None
    lost = after(9, 11, outcome).lost(NOW)
    assert lost is not None
    assert "11 were not confirmed" in lost


def test_a_few_outcomes_say_nothing() -> None:
    assert after(0, AT_LEAST - 1).lost(NOW) is None
    assert after(0, AT_LEAST).lost(NOW) is not None


@pytest.mark.parametrize("outcome", [State.MISSED, State.WITHDRAWN, State.EXPIRED, State.SHADOW])
def test_calls_that_connected_first_or_were_never_asked_for_are_no_reason(outcome: State) -> None:
    assert after(0, 3 * AT_LEAST, outcome).lost(NOW) is None


def test_what_is_long_past_and_what_a_person_has_looked_at_counts_no_more() -> None:
    assert after(0, 50).lost(NOW + WINDOW_SECONDS + 1) is None
    trust = after(0, 50)
    trust.forget()
    assert trust.lost(NOW) is None


def test_trust_is_lost_when_more_than_half_of_the_answers_are_errors_and_no_refusal_of_the_account_is_one() -> None:
    trust = Trust()
    for answer in (AnswerClass.CREDENTIALS, AnswerClass.THROTTLED, AnswerClass.NOT_SENT, AnswerClass.NONE_TERMINABLE):
        for _ in range(10):
            trust.answered(answer, NOW)
    assert trust.lost(NOW) is None
    for _ in range(41):
        trust.answered(AnswerClass.UNKNOWN, NOW)
    assert trust.lost(NOW) == "of the last 81 requests for rules, the provider answered 41 with an error"
