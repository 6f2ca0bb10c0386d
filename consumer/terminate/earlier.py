"""Calls that came back to the queue soon after a request named them: that request may have stopped them already. Pure.

Where webhooks lag, a request for one episode reaches the call in the next, of which nobody has told us yet. Whether it did
is told by a webhook or by a look, as for any request; asking again at once would be needless.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from consumer.model.identity import termination_id
from consumer.model.terminations import AnswerClass, Attempt, Result, Termination

Find = Callable[[str], Termination | None]
REACHED = {AnswerClass.ACCEPTED, AnswerClass.UNKNOWN}
MADE_FOR_ANOTHER = "the request for its episode before may have stopped it"
TOLD_LATER_SECONDS = 2.0
"""So much later than the retry the webhook of what the request did may come; then the provider is asked."""


def shared_request(t: Termination, find: Find, confirm_within: float) -> list[Attempt | Result]:
    """Give ``t`` the last request for the episode before, with an unknown effect; nothing where there is none.

    As its attempt it has the number 0, since it is none of its own.
    One that is older than ``confirm_within`` (seconds) at the decision is none: by then its effect would have been told.
    It is one all the same if a look has shown since that the call did not wait.
    """
    if not t.episode or t.attempts or t.scope is not None:
        return []
    asked = find(termination_id(t.account, t.call_id, t.episode - 1))
    if asked is None or not asked.attempts:
        return []
    made, answer, look = asked.attempts[-1], asked.last_answer, asked.looked_since
    if not made.n or (answer is not None and answer.answer not in REACHED):
        return []
    if t.decided_at - made.at >= confirm_within and (look is None or look.waiting):
        return []
    name = t.termination_id, t.account, t.call_id, t.episode
    return [
        Attempt(*name, made.request_id, 0, made.at, t.orders),
        Result(
            *name,
            made.at,
            made.request_id,
            answer=AnswerClass.UNKNOWN,
            detail=MADE_FOR_ANOTHER,
            retry_at=t.decided_at + TOLD_LATER_SECONDS,
        ),
    ]


def is_asked_for(t: Termination, busy: AbstractSet[str]) -> bool:
    """Whether one of ``busy`` is an earlier episode of the call."""
    return any(termination_id(t.account, t.call_id, episode) in busy for episode in range(t.episode))
