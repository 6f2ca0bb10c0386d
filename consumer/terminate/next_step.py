"""What is to be done next with a termination, and when. Pure.

A request that may have had an effect is repeated only after the time in which a webhook would have told, only while
nothing says that the call has left its episode, and never more than ``MAX_SENDS`` times in all.
"""

from collections.abc import Mapping

from consumer.kafka.ledger import NOTHING, NextStep
from consumer.model.accounts import Account
from consumer.model.terminations import AnswerClass, State, Termination

MAX_SENDS = 3
UNANSWERED_SECONDS = 30.0
"""After a crash between request and answer: longer than a request may take and than a lost partition may stay ours."""
BACKOFF_SECONDS = (15.0, 30.0, 60.0)


def next_step(t: Termination, account: Account) -> NextStep:
    """Say what is to be done with ``t``: ``send`` it or ``close`` it, and from when on."""
    match t.state:
        case State.WAITING:
            answer = t.last_answer
            return NextStep("send", answer.retry_at if answer else 0.0)
        case State.REQUESTED:
            return _again(t, t.attempts[-1].at + UNANSWERED_SECONDS)
        case State.UNKNOWN:
            answer = t.last_answer
            wait = BACKOFF_SECONDS[min(t.sends, len(BACKOFF_SECONDS)) - 1] if t.sends else BACKOFF_SECONDS[0]
            if answer and answer.answer is AnswerClass.NONE_TERMINABLE:
                return NextStep("close", answer.at + account.confirm_within)
            return _again(t, max(answer.at + wait, answer.retry_at) if answer else 0.0)
        case State.ACCEPTED:
            answer = t.last_answer
            return _again(t, (answer.at if answer else 0.0) + account.confirm_within)
        case _:
            return NOTHING


def _again(t: Termination, at: float) -> NextStep:
    return NextStep("send" if t.sends < MAX_SENDS else "close", at)


def closing_outcome(t: Termination) -> tuple[State, str]:
    """Name the outcome of a termination whose time is up, with the reason."""
    answer = t.last_answer
    if answer and answer.answer is AnswerClass.NONE_TERMINABLE:
        return (
            State.NOT_FOUND,
            "the provider had nothing to terminate under this id, and no webhook told how the call ended",
        )
    return State.UNCONFIRMED, f"{t.sends} requests, and no webhook said that the call was stopped"


class StepOf:
    """``next_step`` for terminations of any configured account."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts

    def __call__(self, t: Termination) -> NextStep:
        account = self._accounts.get(t.account)
        return next_step(t, account) if account else NOTHING
