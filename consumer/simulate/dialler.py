"""The dialler: registers, dials, talks, retries. Synchronous; `now` in seconds since the epoch."""

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import chain, cycle, islice
from math import ceil, log1p
from typing import NamedTuple, Protocol

from .calls import OPEN, Call, CallTable, Campaign, CampaignState, Status
from .dice import Dice
from .scenario import CampaignPlan, Scenario
from .timeline import Timeline

_REGISTER_EVERY_SECONDS = 0.02
_CATCH_UP_SECONDS = 0.25
_COST_PER_MINUTE = 0.15


class Moment(StrEnum):
    """What can happen to a call."""

    QUEUED = "queued"
    STARTED = "started"
    ANSWERED = "answered"
    FINISHED = "finished"
    RECORDED = "recorded"
    ANALYSED = "analysed"
    PROCESSED = "processed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """What can happen to a campaign."""

    OPENED = "opened"
    DIALLING = "dialling"
    ENDED = "ended"


class Listener(Protocol):
    def on_call(self, moment: Moment, call: Call, now: float) -> None: ...
    def on_campaign(self, phase: Phase, campaign: Campaign, now: float) -> None: ...


class Dialler:
    def __init__(
        self,
        scenario: Scenario,
        *,
        retries: bool,
        table: CallTable,
        timeline: Timeline,
        dice: Dice,
        listener: Listener,
        may_register: Callable[[], bool],
    ) -> None:
        self._dial = scenario.dial
        self._outcomes = scenario.outcomes
        self._speed = scenario.speed
        self._attempts = scenario.dial.attempts if retries else 1
        self._table = table
        self._timeline = timeline
        self._dice = dice
        self._listener = listener
        self._may_register = may_register
        self._waiting: deque[Call] = deque()
        self._busy_lines = 0
        self._next_dial_at = 0.0
        self._dial_planned = False

    def open(self, campaign: Campaign, plan: CampaignPlan, now: float) -> None:
        """Start a campaign, or start it again: its calls register from now on."""
        people = people_to_call(self._dice, plan, plan.people or campaign.key, self._outcomes.opt_out)
        campaign.size += plan.calls
        campaign.state = CampaignState.ACTIVE
        self._table.campaigns[campaign.id] = campaign
        self._listener.on_campaign(Phase.OPENED, campaign, now)
        self._register(campaign, people, plan.register_per_second * self._speed, 0.0, now)

    def close(self, campaign: Campaign) -> None:
        """No further call of it registers; what is queued stays for the caller to cut."""
        campaign.state = CampaignState.STOPPED
        campaign.size = len(campaign.group.calls)

    def cut(self, call: Call, now: float) -> None:
        """Terminate an open call; a live one is hung up."""
        if call.status is Status.ONGOING:
            self._busy_lines -= 1
            # not at once: the caller may be about to cut the very call that is next in line
            self._timeline.at(now, self._dial_next)
        self._table.move(call, Status.CANCELLED)
        call.ended_at = now
        self._listener.on_call(Moment.CANCELLED, call, now)
        self._close_if_done(call.campaign, now)

    def _register(self, campaign: Campaign, people: Iterator["Person"], rate: float, owed: float, now: float) -> None:
        if campaign.state is CampaignState.STOPPED:
            return
        if self._may_register():
            owed += rate * _REGISTER_EVERY_SECONDS
        registered = 0
        for person in islice(people, int(owed)):
            ordinal = len(campaign.group.calls)
            call_id = self._dice.uuid("call", campaign.key, ordinal)
            call = Call(call_id, person.number, person.opts_out, campaign, ordinal, registered_at=now)
            self._table.add(call)
            self._listener.on_call(Moment.QUEUED, call, now)
            self._waiting.append(call)
            registered += 1
        if registered == int(owed):
            next_time = now + _REGISTER_EVERY_SECONDS
            self._timeline.at(next_time, self._register, campaign, people, rate, owed - registered)
        self._dial_next(now)

    def _dial_next(self, now: float) -> None:
        self._next_dial_at = max(self._next_dial_at, now - _CATCH_UP_SECONDS)
        while self._waiting and self._busy_lines < self._dial.lines and self._next_dial_at <= now:
            call = self._waiting.popleft()
            if call.terminable:
                self._next_dial_at += 1 / (self._dial.per_second * self._speed)
                self._start(call, now)
        if self._waiting and self._busy_lines < self._dial.lines and not self._dial_planned:
            self._dial_planned = True
            self._timeline.at(self._next_dial_at, self._dial_planned_now)

    def _dial_planned_now(self, now: float) -> None:
        self._dial_planned = False
        self._dial_next(now)

    def _start(self, call: Call, now: float) -> None:
        if call.sid:
            call.attempt += 1
        call.sid = self._dice.uuid("sid", call.id, call.attempt)
        call.started_at, call.connected_at, call.next_attempt_at = now, None, None
        self._busy_lines += 1
        self._table.move(call, Status.ONGOING)
        self._listener.on_call(Moment.STARTED, call, now)
        if not call.campaign.dialled:
            call.campaign.dialled = True
            self._listener.on_campaign(Phase.DIALLING, call.campaign, now)
        outcome = self._outcome(call)
        answered = now + self._dial.ring_seconds * (0.5 + self._draw("ring", call)) / self._speed
        if outcome is Status.COMPLETED:
            call.talk_seconds = -log1p(-self._draw("talk", call)) * self._dial.talk_seconds
            self._timeline.at(answered, self._answer, call, call.sid)
            self._timeline.at(answered + call.talk_seconds / self._speed, self._finish, call, call.sid, outcome)
        else:
            call.talk_seconds = 0.0
            self._timeline.at(answered, self._finish, call, call.sid, outcome)

    def _outcome(self, call: Call) -> Status:
        drawn = self._draw("outcome", call)
        if drawn < self._outcomes.failed:
            return Status.FAILED
        if drawn < self._outcomes.failed + self._outcomes.not_answered:
            return Status.RETRY if call.attempt + 1 < self._attempts else Status.FAILED
        return Status.COMPLETED

    def _answer(self, call: Call, sid: str, now: float) -> None:
        if call.status is Status.ONGOING and call.sid == sid:
            call.connected_at = now
            self._listener.on_call(Moment.ANSWERED, call, now)

    def _finish(self, call: Call, sid: str, outcome: Status, now: float) -> None:
        if call.status is not Status.ONGOING or call.sid != sid:
            return
        self._busy_lines -= 1
        self._table.move(call, outcome)
        call.ended_at = now
        call.cost = round(ceil(call.talk_seconds / 60) * _COST_PER_MINUTE, 2)
        if outcome is Status.RETRY:
            call.next_attempt_at = now + self._dial.retry_after_seconds / self._speed
            self._timeline.at(call.next_attempt_at, self._queue_again, call)
        elif outcome is Status.COMPLETED:
            call.opted_out = call.opts_out
        self._listener.on_call(Moment.FINISHED, call, now)
        if outcome is Status.COMPLETED:
            recorded = now + self._dial.recording_after_seconds / self._speed
            analysed = now + self._dial.analysis_after_seconds / self._speed
            self._timeline.at(recorded, self._tell, Moment.RECORDED, call)
            self._timeline.at(analysed, self._tell, Moment.ANALYSED, call)
            self._timeline.at(max(recorded, analysed), self._tell, Moment.PROCESSED, call)
        self._close_if_done(call.campaign, now)
        self._dial_next(now)

    def _queue_again(self, call: Call, now: float) -> None:
        if call.status is Status.RETRY:
            self._waiting.append(call)
            self._dial_next(now)

    def _tell(self, moment: Moment, call: Call, now: float) -> None:
        self._listener.on_call(moment, call, now)

    def _close_if_done(self, campaign: Campaign, now: float) -> None:
        registered_all = len(campaign.group.calls) >= campaign.size or campaign.state is CampaignState.STOPPED
        if registered_all and not campaign.group.count(OPEN):
            if campaign.state is CampaignState.ACTIVE:
                campaign.state = CampaignState.COMPLETED
            self._listener.on_campaign(Phase.ENDED, campaign, now)

    def _draw(self, what: str, call: Call) -> float:
        return self._dice.share(what, call.campaign.key, call.ordinal, call.attempt)


class Person(NamedTuple):
    number: str
    opts_out: bool
    """Asks not to be called again as soon as reached."""


def people_to_call(dice: Dice, plan: CampaignPlan, pool: str, opt_out: float) -> Iterator[Person]:
    """List whom a campaign calls: everybody once, then again those who are on it several times. Numbers are E.164."""
    extra = plan.calls_per_repeated_person - 1
    first = dice.number(8, "people", pool)
    once = max(1, round(plan.calls / (1 + plan.repeated_people * extra)))
    everybody = [
        Person(f"+9190{(first + i) % 10**8:08d}", dice.share("opt-out", pool, i) < opt_out) for i in range(once)
    ]
    again = [one for i, one in enumerate(everybody) if dice.share("repeated", pool, i) < plan.repeated_people]
    # chance may have drawn a few too few: the first of the list fill it
    return islice(chain(everybody, again * extra, cycle(everybody)), plan.calls)
