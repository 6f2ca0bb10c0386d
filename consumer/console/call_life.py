"""A call's life as its recorded events tell it, step by step: what rules saw, and when the call waited. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from consumer.model.calls import Call, fold
from consumer.model.events import CallEvent
from consumer.model.status import Status


@dataclass(frozen=True, slots=True)
class Wait:
    """One episode: from when to when the call could be stopped (broker's time, seconds), and what it became then."""

    episode: int
    began: float
    ended: float | None = None
    became: Status | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """Every event that was no duplicate with the call as it stood then, and the times at which it waited."""

    steps: Sequence[tuple[CallEvent, Call]]
    waits: Sequence[Wait]

    @property
    def last(self) -> Call | None:
        return self.steps[-1][1] if self.steps else None


def life_of(events: Sequence[CallEvent]) -> Life:
    """Fold the events of one call once more, in the order in which they were recorded."""
    steps: list[tuple[CallEvent, Call]] = []
    waits: list[Wait] = []
    call: Call | None = None
    for event in events:
        before, call = call, fold(call, event)
        if call is before:
            continue
        steps.append((event, call))
        waited = before is not None and before.terminable
        same = before is not None and waited and call.terminable and call.episode == before.episode
        if waited and not same:
            waits[-1] = replace(waits[-1], ended=event.logged_at, became=call.status)
        if call.terminable and not same:
            waits.append(Wait(call.episode, call.since))
    return Life(steps, waits)
