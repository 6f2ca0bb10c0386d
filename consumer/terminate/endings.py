"""What is to be logged when a call's own events settle a termination. Pure.

A call that rang and came back to the queue while our request travelled is stopped by that request, though it was made for
the episode before: cancelled without a request of its own, and yet by us.
"""

from collections.abc import Callable

from msgspec.structs import replace

from consumer.model.identity import termination_id
from consumer.model.status import Status
from consumer.model.terminations import Attempt, Ended, Record, Result, State, Termination

Find = Callable[[str], Termination | None]
LATER_SECONDS = 0.001
SETTLED = frozenset((State.CONFIRMED, State.MISSED))


def closing(
    change: Record, before: Termination | None, after: Termination, logged_at: float, find: Find
) -> Result | None:
    """Give the outcome to be logged because of ``change``, which was logged at ``logged_at`` (broker's time, seconds)."""
    if isinstance(change, Attempt):
        return _stopped_after_all(after, logged_at, find)
    result = _ended_by_itself(before, after, logged_at)
    if isinstance(change, Ended | Result) and _called_missed_but_cancelled(after):
        asked = _asked_earlier(after, find)
        said = result or after.final
        if asked and said:
            return _credited(said, asked, logged_at)
    return result


def missed_later(asked: Attempt | Termination, find: Find) -> Termination | None:
    """Find a later episode of the same call that was called missed, and that this request has stopped after all."""
    episode = asked.episode + 1
    while later := find(termination_id(asked.account, asked.call_id, episode)):
        if later.final and _called_missed_but_cancelled(later):
            return later
        episode += 1
    return None


def _stopped_after_all(asked: Termination, logged_at: float, find: Find) -> Result | None:
    """Correct what was called missed before this attempt was read: the topics are read in no fixed order."""
    later = missed_later(asked, find)
    return _credited(later.final, asked, logged_at) if later and later.final else None


def _called_missed_but_cancelled(t: Termination) -> bool:
    return t.ended is not None and t.ended.status is Status.CANCELLED and t.state is State.MISSED


def _credited(said: Result, asked: Termination, logged_at: float) -> Result:
    """Say instead that the request for an earlier episode stopped the call; of two outcomes the later one stands."""
    detail = f"stopped by request {asked.attempts[-1].request_id}, made while it came back to the queue"
    at = max(logged_at, said.at + LATER_SECONDS)
    return replace(said, at=at, outcome=State.CONFIRMED, detail=detail, late_seconds=None)


def _asked_earlier(t: Termination, find: Find) -> Termination | None:
    for episode in range(t.episode - 1, -1, -1):
        earlier = find(termination_id(t.account, t.call_id, episode))
        if earlier and earlier.sends:
            return earlier
    return None


def _ended_by_itself(before: Termination | None, after: Termination, logged_at: float) -> Result | None:
    if after.ended is None or (state := after.state) not in SETTLED or (before is not None and before.state is state):
        return None
    source = after.ended.evidence
    return Result(
        termination_id=after.termination_id,
        account=after.account,
        call_id=after.call_id,
        episode=after.episode,
        at=logged_at,
        outcome=state,
        detail=f"the call is {after.ended.status}",
        orders=after.orders,
        confirmed_by=f"{after.ended.source} {source}" if source else after.ended.source,
        late_seconds=after.missed_by_seconds,
    )
