"""What is to be done next with a termination, and when. Pure.

A request that may have had an effect is repeated only after the time in which a webhook would have told, only after a
look that says the call still waits (where the provider can be asked), and never more than ``MAX_SENDS`` times in all.
"""

from collections.abc import Mapping

from consumer.kafka.ledger import NOTHING, NextStep
from consumer.model.accounts import Account
from consumer.model.provider import Capabilities, Provider
from consumer.model.terminations import AnswerClass, State, Termination
from consumer.terminate.endings import SETTLED

SEND_NOW = NextStep("send")
CLOSE_NOW = NextStep("close")
MAX_SENDS = 3
UNANSWERED_SECONDS = 30.0
"""After a crash between request and answer: longer than a request may take and than a lost partition may stay ours."""
BACKOFF_SECONDS = (15.0, 30.0, 60.0)
NONE_TERMINABLE_SECONDS = 2.0
"""A provider that had nothing to terminate is asked at once how the call stands."""


def next_step(t: Termination, account: Account, capabilities: Capabilities) -> NextStep:
    """Say what is to be done with ``t``: ``send`` it, ``look`` how its call stands or ``close`` it, and from when on.

    Nothing while only the log tells of it: the decision, which says what it is aimed at, is still to be read. What the call's
    end has settled is to be closed where the log has no outcome: who owned it then had not known of the decision yet.
    """
    state = t.state
    if t.decided_status is None:
        return NOTHING
    if state.over:
        return CLOSE_NOW if state in SETTLED and t.final is None else NOTHING
    if state is State.WAITING:
        refused = t.last_answer
        return NextStep("send", refused.retry_at) if refused else SEND_NOW
    due = _due(t, state, account)
    look = t.looked_since
    if look is None and can_look(t, capabilities):
        return NextStep("look", due)
    answer = t.last_answer
    if look is None and answer and answer.answer is AnswerClass.NONE_TERMINABLE:
        return NextStep("close", answer.at + account.confirm_within)
    if look is not None and not look.waiting:
        return NextStep("close", look.at + account.confirm_within)
    return NextStep("send" if t.sends < MAX_SENDS else "close", due)


def can_look(t: Termination, capabilities: Capabilities) -> bool:
    """Whether the provider can be asked how the call, or the scope, of ``t`` stands."""
    return (capabilities.scope_state or capabilities.history) if t.scope else capabilities.look_up


def must_look_first(t: Termination, capabilities: Capabilities) -> bool:
    """Whether the state must be read right before this send.

    Always where a stop would cut a live call, and before a repetition where a stop is not idempotent.
    """
    if t.scope:
        return bool(t.attempts) and not capabilities.idempotent and capabilities.scope_state
    return capabilities.look_before_stop


def _due(t: Termination, state: State, account: Account) -> float:
    """From when on something is to be done about one that was asked for."""
    answer = t.last_answer
    if answer is None:
        return t.attempts[-1].at + UNANSWERED_SECONDS
    if state is State.ACCEPTED:
        return max(r.at for r in t.results if r is answer or r.answer is AnswerClass.ACCEPTED) + account.confirm_within
    if answer.answer is AnswerClass.NONE_TERMINABLE:
        return answer.at + NONE_TERMINABLE_SECONDS
    if not t.attempts[-1].n:
        return answer.retry_at  # the request of an earlier episode
    wait = BACKOFF_SECONDS[min(max(t.sends, 1), len(BACKOFF_SECONDS)) - 1]
    return max(answer.at + wait, answer.retry_at)


def closing_outcome(t: Termination) -> tuple[State, str]:
    """Name the outcome of a termination whose time is up, with the reason."""
    answer = t.last_answer
    if answer and answer.answer is AnswerClass.NONE_TERMINABLE:
        return (
            State.NOT_FOUND,
            "the provider had nothing to terminate under this id, and nothing told how the call ended",
        )
    return State.UNCONFIRMED, f"{t.sends} requests, and nothing said that the call was stopped"


class StepOf:
    """``next_step`` for terminations of any configured account; one of an account that was taken out waits."""

    def __init__(self, accounts: Mapping[str, Account], providers: Mapping[str, Provider]) -> None:
        self._known = {
            account.name: (account, providers[account.provider].capabilities) for account in accounts.values()
        }

    def __call__(self, t: Termination) -> NextStep:
        known = self._known.get(t.account)
        return next_step(t, *known) if known else NOTHING
