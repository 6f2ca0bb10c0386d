"""A rule's wish to stop something, and what a rule aims at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.model.calls import Call
from consumer.model.durations import parse_hold
from consumer.model.orders import Reach
from consumer.model.scopes import Scope, ScopeKind

HoldText = str | int

DEFAULT_HOLD: dict[ScopeKind, float | None] = {
    ScopeKind.CALL: 0.0,
    ScopeKind.NUMBER: 30 * 86_400.0,
    ScopeKind.NUMBER_IN_CAMPAIGN: 30 * 86_400.0,
    ScopeKind.CAMPAIGN: None,
    ScopeKind.AGENT: None,
}
"""How long an order stays in force when nobody says: 0.0 once, None until released."""


class RuleError(ValueError):
    """A rule that cannot be loaded, or a stop that names nothing. The message says which and why."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A rule's wish to stop a scope. ``hold`` is in seconds: 0.0 once, None until released.

    ``values`` are what the rule saw and decided on, by name: they explain the order to people.

    Raises:
        RuleError: one of them is not what it must be; without a reason nobody could tell later why calls were stopped.

    """

    scope: Scope
    reason: str
    hold: float | None
    reach: Reach = Reach.KNOWN
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason.strip():
            raise RuleError("the stop has no reason; say in words why, `reason` is shown to whoever looks")
        if not isinstance(self.scope, Scope) or not isinstance(self.reach, Reach):
            raise RuleError("the stop has no scope or reach; make it with Stop.number, Stop.campaign and so on")
        if self.hold is not None and (not isinstance(self.hold, int | float) or not 0 <= self.hold < float("inf")):
            raise RuleError("the stop's hold is neither seconds nor None; Stop.number and so on take '30d' too")

    @classmethod
    def call(cls, call_id: str | None, *, reason: str, hold: HoldText | None = None) -> "Stop":
        return cls._of(Scope.calls([_known("call", call_id)]), reason, hold)

    @classmethod
    def number(cls, number: str | None, *, reason: str, hold: HoldText | None = None) -> "Stop":
        return cls._of(Scope.numbers([_known("number", number)]), reason, hold)

    @classmethod
    def campaign(cls, campaign_id: str | None, *, reason: str, hold: HoldText | None = None) -> "Stop":
        return cls._of(Scope.campaign(_known("campaign", campaign_id)), reason, hold)

    @classmethod
    def agent(cls, agent_id: str | None, *, reason: str, hold: HoldText | None = None) -> "Stop":
        return cls._of(Scope.agent(_known("agent", agent_id)), reason, hold)

    @classmethod
    def number_in_campaign(
        cls, campaign_id: str | None, number: str | None, *, reason: str, hold: HoldText | None = None
    ) -> "Stop":
        scope = Scope.numbers_in_campaign(_known("campaign", campaign_id), [_known("number", number)])
        return cls._of(scope, reason, hold)

    @classmethod
    def of_kind(cls, kind: ScopeKind, call: Call, *, reason: str, hold: HoldText | None = None) -> "Stop":
        """Stop what ``kind`` means for this call: itself, its number, campaign, agent, or number within its campaign.

        Raises:
            RuleError: the call does not say what its number, campaign or agent is.

        """
        match kind:
            case ScopeKind.CALL:
                return cls.call(call.call_id, reason=reason, hold=hold)
            case ScopeKind.NUMBER:
                return cls.number(call.number, reason=reason, hold=hold)
            case ScopeKind.CAMPAIGN:
                return cls.campaign(call.campaign_id, reason=reason, hold=hold)
            case ScopeKind.AGENT:
                return cls.agent(call.agent_id, reason=reason, hold=hold)
            case ScopeKind.NUMBER_IN_CAMPAIGN:
                return cls.number_in_campaign(call.campaign_id, call.number, reason=reason, hold=hold)

    @classmethod
    def _of(cls, scope: Scope, reason: str, hold: HoldText | None) -> "Stop":
        return cls(scope, reason, DEFAULT_HOLD[scope.kind] if hold is None else parse_hold(hold))


@dataclass(frozen=True, slots=True)
class Aim:
    """What a rule stops, and for how long: seconds, 0.0 once, None until released."""

    scope: ScopeKind
    hold: float | None
    reach: Reach = Reach.KNOWN

    def at(self, call: Call, reason: str, values: Mapping[str, Any] | None = None) -> Stop:
        """Stop what is aimed at of this call; raises ``RuleError`` where the call does not say what that is."""
        scope = Stop.of_kind(self.scope, call, reason=reason).scope
        return Stop(scope, reason, self.hold, self.reach, values or {})


def _known(what: str, value: str | None) -> str:
    if not value:
        raise RuleError(f"the call does not say what its {what} is, so it cannot be stopped by {what}")
    return value
