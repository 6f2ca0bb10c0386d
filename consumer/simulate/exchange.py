"""The telephone exchange behind every played provider: its calls, its dialler, its faults and its judge."""

from collections.abc import Callable, Iterable

from .calls import OPEN, TERMINABLE, Call, CallTable, Campaign, Status
from .dialler import Dialler, Listener, Moment, Phase
from .dice import Dice
from .faults import FaultBoard, FaultKind
from .judge import Judge
from .scenario import CampaignPlan, Scenario
from .timeline import Timeline


class Exchange:
    """Synchronous; everything that happens passes the judge first, then goes to the listener."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        retries: bool,
        object_ids: bool,
        listener: Listener,
        may_register: Callable[[], bool],
    ) -> None:
        self.scenario = scenario
        self._object_ids = object_ids
        self.effects = True
        """Off while a request is judged that a fault keeps from having an effect."""
        self.dice = Dice(scenario.seed, scenario.run)
        self.timeline = Timeline()
        self.table = CallTable()
        self.faults = FaultBoard(self.dice)
        self.judge = Judge(self.table, scenario.rate_limit)
        self._listener = listener
        self._dialler = Dialler(
            scenario,
            retries=retries,
            table=self.table,
            timeline=self.timeline,
            dice=self.dice,
            listener=self,
            may_register=may_register,
        )

    def start_campaign(self, plan: CampaignPlan, now: float) -> Campaign:
        """Start a campaign, or with the id of an old one start that again."""
        key = f"campaign {len(self.table.campaigns) + 1}"
        campaign_id = plan.campaign_id or (self.dice.object_id(key) if self._object_ids else self.dice.uuid(key))
        campaign = self.table.campaigns.get(campaign_id)
        if campaign is None:
            agent_id = plan.agent_id or self.dice.uuid("agent")
            campaign = Campaign(campaign_id, agent_id, plan.name, key, created_at=now)
        self._dialler.open(campaign, plan, now)
        return campaign

    def stop_campaign(self, campaign: Campaign, now: float, *, live: bool = False) -> int:
        """End a campaign for good, where a provider knows that; gives how many calls to say were stopped."""
        if not self.effects:
            return 0
        calls = campaign.group.having(OPEN if live else TERMINABLE)
        if self._lies(now):
            return len(calls)
        self.judge.stops_campaign(campaign)
        self._dialler.close(campaign)
        return len(self._cut(calls, now))

    def terminate(self, calls: Iterable[Call], now: float, *, live: bool = False) -> list[Call]:
        """Terminate those of the calls that can be (`live`: connected ones too); gives what to tell the client.

        Under the fault `lie` nothing happens and the client is told that it did; `ignore-ids` leaves its calls out.
        """
        if not self.effects:
            return []
        open_calls = [call for call in calls if call.terminable or (live and call.status is Status.ONGOING)]
        return open_calls if open_calls and self._lies(now) else self._cut(open_calls, now)

    def _lies(self, now: float) -> bool:
        if self.faults.take({FaultKind.LIE}, now, stops=True) is None:
            return False
        self.judge.faults[FaultKind.LIE] += 1
        return True

    def _cut(self, calls: list[Call], now: float) -> list[Call]:
        heard = [call for call in calls if not self._struck(FaultKind.IGNORE_IDS, call.id, now)]
        for call in heard:
            self.judge.cut(call, now)
            self._dialler.cut(call, now)
        return heard

    def poisoned(self, call_ids: Iterable[str], now: float) -> bool:
        """Whether one of the ids spoils the whole request (the fault `poison`)."""
        return self.effects and any(self._struck(FaultKind.POISON, call_id, now) for call_id in call_ids)

    def _struck(self, kind: FaultKind, call_id: str, now: float) -> bool:
        struck = self.faults.strikes_id(kind, call_id, now)
        if struck:
            self.judge.faults[kind] += 1
        return struck

    def on_call(self, moment: Moment, call: Call, now: float) -> None:
        if moment is Moment.STARTED:
            self.judge.attempt_begins(call)
        elif moment is Moment.ANALYSED and call.opted_out:
            self.judge.orders.opted_out(call.number, now)
        self._listener.on_call(moment, call, now)

    def on_campaign(self, phase: Phase, campaign: Campaign, now: float) -> None:
        self._listener.on_campaign(phase, campaign, now)
