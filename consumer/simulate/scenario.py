"""What is played: frozen, checked settings. Durations and rates are in the simulated provider's time; see `speed`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from .faults import Fault

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class CampaignPlan:
    """One list of people to call. `campaign_id` of a campaign there is already: it is started again with new calls."""

    calls: int = Field(default=2_000, ge=1, le=1_000_000)
    campaign_id: str | None = None
    agent_id: str | None = None
    name: str = "Payment reminders"
    people: str | None = None
    """Campaigns with the same name here call the same people."""
    repeated_people: float = Field(default=0.10, ge=0, le=1)
    """Share of the people who are on the list several times, first near its start and again at its end."""
    calls_per_repeated_person: int = Field(default=3, ge=2, le=20)
    register_per_second: float = Field(default=25.0, gt=0)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Dial:
    """The dialler: attempts a second, lines, and how long things take (means, in seconds)."""

    per_second: float = Field(default=6.0, gt=0)
    lines: int = Field(default=200, ge=1)
    ring_seconds: float = Field(default=8.0, ge=0)
    talk_seconds: float = Field(default=20.0, ge=0)
    attempts: int = Field(default=3, ge=1, le=20)
    retry_after_seconds: float = Field(default=120.0, ge=0)
    recording_after_seconds: float = Field(default=3.0, ge=0)
    analysis_after_seconds: float = Field(default=6.0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Outcomes:
    """Shares of attempts; what is left over answers and completes. `opt_out` is a share of the people."""

    not_answered: float = Field(default=0.30, ge=0, le=1)
    """Ends as `retry` while attempts are left, then as `failed`."""
    failed: float = Field(default=0.05, ge=0, le=1)
    opt_out: float = Field(default=0.15, ge=0, le=1)

    def __post_init__(self) -> None:
        if self.not_answered + self.failed > 1:
            raise ValueError("outcomes: not_answered + failed is over 1; lower one of them")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Webhooks:
    """How webhooks look and travel. Real seconds here: `speed` does not touch them."""

    form: Literal["newer", "older"] = "newer"
    """Ringg's payloads: the older form has no call_started, called_on, bulk_list_id or call_sid."""
    envelopes: Literal["off", "queued", "all"] = "queued"
    """Ringg's `callback_url` channel, the only one that tells of queued calls: only those, or every status too."""
    tell_cancelled: bool = True
    """Whether a terminated call sends a webhook: no provider documents that it does."""
    campaign_in_args: bool = True
    """Put the campaign into `custom_args_values.campaign_id`: Ringg's envelope does not name it otherwise."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    connections: int = Field(default=32, ge=1, le=512)
    timeout_seconds: float = Field(default=30.0, gt=0)
    retry_seconds: tuple[float, ...] = (10.0, 60.0, 120.0)
    retry_scale: float = Field(default=1.0, ge=0)
    backlog: int = Field(default=20_000, ge=1)
    """With so many webhooks waiting, no further calls register until some have left."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RateLimit:
    """What the judge allows in any 1 s and 60 s: rate x window + burst; arrival may bunch by `jitter_seconds`."""

    requests_per_second: float = Field(default=5.0, gt=0)
    burst: int = Field(default=5, ge=0)
    jitter_seconds: float = Field(default=0.05, ge=0)
    enforced: bool = False
    """Answer 429 above the limit instead of only counting."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Scenario:
    """All settings of one simulated provider. The default plays 2,000 calls in about 30 s."""

    seed: int = 1
    run: str = ""
    """Mixed into ids and numbers, so that the same story can be told again with calls that are new to the listener."""
    account_group_id: str = "65f0c0ffee0000000000cafe"
    """Sonarly: the account group everything is in."""
    speed: float = Field(default=20.0, gt=0)
    """How many seconds of the provider pass in one real second."""
    campaigns: tuple[CampaignPlan, ...] = (CampaignPlan(),)
    """Started with the simulator; more can be started through its control API."""
    dial: Dial = Dial()
    outcomes: Outcomes = Outcomes()
    webhooks: Webhooks = Webhooks()
    rate_limit: RateLimit = RateLimit()
    faults: tuple[Fault, ...] = ()


_SCENARIO = TypeAdapter(Scenario)


def parse_scenario(settings: Mapping[str, Any]) -> Scenario:
    """Check JSON or YAML values; raises pydantic.ValidationError with the path of what is wrong."""
    return _SCENARIO.validate_python(settings)
