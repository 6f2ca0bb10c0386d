"""Rules: a value of an event and its call goes in, a wish to stop something comes out, or nothing.

    from consumer.model import Call, CallEvent, Stop, rule

    @rule(on="analysis")
    def angry_caller(event: CallEvent, call: Call) -> Stop | None:
        if event.analysis.get("sentiment") == "angry":
            return Stop.number(call.number, reason="caller asked us to stop", hold="30d")

A rule never does I/O and takes its time from the event, so the same records give the same decisions again.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, overload

from consumer.model.calls import Call
from consumer.model.durations import parse_hold
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.orders import OPT_OUT, RULE, Mode, Reach
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import EventType

RuleFunction = Callable[[CallEvent, Call], "Stop | None"]
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

    Raises:
        RuleError: one of them is not what it must be; without a reason nobody could tell later why calls were stopped.

    """

    scope: Scope
    reason: str
    hold: float | None
    reach: Reach = Reach.KNOWN

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


def _known(what: str, value: str | None) -> str:
    if not value:
        raise RuleError(f"the call does not say what its {what} is, so it cannot be stopped by {what}")
    return value


@dataclass(frozen=True, slots=True)
class EventRule:
    """A rule that is asked once per call event, as the correlator runs it."""

    name: str
    version: str
    hash: str
    evaluate: RuleFunction
    on: frozenset[EventType] = frozenset(EventType)
    mode: Mode = Mode.ENFORCE
    canary_share: float = 1.0
    canary_campaigns: tuple[str, ...] = ()

    def __call__(self, event: CallEvent, call: Call) -> "Stop | None":
        """Ask the rule, as its own tests do."""
        return self.evaluate(event, call)

    @property
    def lane(self) -> int:
        """Opt-outs leave before other rules' stops."""
        return OPT_OUT if self.name.replace("_", "-") == "opt-out" else RULE


@overload
def rule(function: RuleFunction) -> EventRule: ...


@overload
def rule(
    *, on: str | Iterable[str] | None = None, name: str | None = None, version: str = "1"
) -> Callable[[RuleFunction], EventRule]: ...


def rule(
    function: RuleFunction | None = None,
    *,
    on: str | Iterable[str] | None = None,
    name: str | None = None,
    version: str = "1",
) -> EventRule | Callable[[RuleFunction], EventRule]:
    """Make a function a rule.

    Args:
        function: given when used without brackets.
        on: the event types it wants to see (``queued | started | finished | recording | analysis | other``); none: all.
        name: the name shown in decisions; the function's own by default.
        version: goes into every decision beside a hash of the source.

    Raises:
        RuleError: an event type that does not exist.

    """

    def decorate(target: RuleFunction) -> EventRule:
        wanted = [on] if isinstance(on, str) else list(on or EventType)
        try:
            types = frozenset(EventType(item) for item in wanted)
        except ValueError as error:
            known = ", ".join(EventType)
            raise RuleError(f"rule {target.__name__!r}: {error}; the event types are {known}") from error
        return EventRule(name or target.__name__, version, source_hash(target), target, types)

    return decorate(function) if function else decorate


def source_hash(function: Callable[..., Any]) -> str:
    """Hash a rule's source text, so that a decision says exactly which code made it."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = f"{function.__module__}:{function.__qualname__}"
    return digest((text,), 6)


def configured(
    found: EventRule, *, name: str, mode: Mode, canary_share: float = 1.0, canary_campaigns: tuple[str, ...] = ()
) -> EventRule:
    """Give a rule the name and the mode that the configuration says."""
    return replace(found, name=name, mode=mode, canary_share=canary_share, canary_campaigns=canary_campaigns)
