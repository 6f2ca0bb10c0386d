"""The calls of the simulated provider and where to find them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """Call statuses as Ringg lists them (docs.ringg.ai, making-your-first-call); others are made from these."""

    REGISTERED = "registered"
    RETRY = "retry"
    ONGOING = "ongoing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINABLE = frozenset({Status.REGISTERED, Status.RETRY})
OPEN = TERMINABLE | {Status.ONGOING}


class CampaignState(StrEnum):
    ACTIVE = "active"
    STOPPED = "stopped"
    COMPLETED = "completed"


class Group:
    """Calls that share a campaign or an agent: in the order they registered, and by status."""

    __slots__ = ("by_status", "calls")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.by_status: dict[Status, dict[str, Call]] = {status: {} for status in Status}

    def count(self, statuses: frozenset[Status]) -> int:
        return sum(len(self.by_status[status]) for status in statuses)

    def having(self, statuses: frozenset[Status]) -> list["Call"]:
        return [call for status in sorted(statuses) for call in self.by_status[status].values()]


@dataclass(slots=True, eq=False)
class Campaign:
    id: str
    agent_id: str
    name: str
    key: str
    """What chance is drawn by: the same in every run."""
    created_at: float
    size: int = 0
    state: CampaignState = CampaignState.ACTIVE
    dialled: bool = False
    stop_told: bool = False
    """Whether somebody has been told truthfully that it was stopped."""
    group: Group = field(default_factory=Group)


@dataclass(slots=True, eq=False)
class Call:
    """One call through all its attempts; times in seconds since the epoch, `talk_seconds` in the provider's time."""

    id: str
    number: str
    opts_out: bool
    """What this person says when reached; `opted_out`: has said it."""
    campaign: Campaign
    ordinal: int
    registered_at: float
    status: Status = Status.REGISTERED
    attempt: int = 0
    """0 for the first, as Ringg's `retry_count`."""
    sid: str = ""
    """The telephony id of the present attempt; empty before the first."""
    next_attempt_at: float | None = None
    started_at: float | None = None
    connected_at: float | None = None
    ended_at: float | None = None
    talk_seconds: float = 0.0
    cost: float = 0.0
    opted_out: bool = False
    cut_told: bool = False
    """Whether somebody has been told truthfully that it was terminated."""

    @property
    def terminable(self) -> bool:
        return self.status in TERMINABLE

    @property
    def live(self) -> bool:
        return self.status is Status.ONGOING and self.connected_at is not None


class CallTable:
    """Every call by id, number, campaign and agent. A status changes only through `move`, which keeps the indexes."""

    def __init__(self) -> None:
        self.by_id: dict[str, Call] = {}
        self.by_number: defaultdict[str, list[Call]] = defaultdict(list)
        self.campaigns: dict[str, Campaign] = {}
        self.agents: defaultdict[str, Group] = defaultdict(Group)
        self.everything = Group()

    def add(self, call: Call) -> None:
        self.by_id[call.id] = call
        self.by_number[call.number].append(call)
        for group in self._groups(call):
            group.calls.append(call)
            group.by_status[call.status][call.id] = call

    def move(self, call: Call, status: Status) -> None:
        for group in self._groups(call):
            del group.by_status[call.status][call.id]
            group.by_status[status][call.id] = call
        call.status = status

    def of_numbers(self, numbers: Iterable[str]) -> list[Call]:
        return [call for number in numbers for call in self.by_number.get(number, ())]

    def of_agent(self, agent_id: str, statuses: frozenset[Status]) -> list[Call]:
        group = self.agents.get(agent_id)
        return group.having(statuses) if group else []

    def of_campaign(self, campaign_id: str, statuses: frozenset[Status]) -> list[Call]:
        campaign = self.campaigns.get(campaign_id)
        return campaign.group.having(statuses) if campaign else []

    def _groups(self, call: Call) -> Iterator[Group]:
        yield self.everything
        yield call.campaign.group
        yield self.agents[call.campaign.agent_id]
