"""What rules are, how much they may stop without asking, and what they never stop."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, model_validator

from consumer.model.accounts import Section, Text, WebhookAuth, none_as_mapping
from consumer.model.durations import HoldSeconds, PositiveDuration
from consumer.model.identity import mask_number
from consumer.model.orders import Mode, Reach
from consumer.model.over import LONGEST_SECONDS
from consumer.model.refusals import RefusedError, refuse_all
from consumer.model.rules import DEFAULT_BUDGET_SECONDS, DEFAULT_HOLD
from consumer.model.scopes import E164, ScopeKind, normalise_number

Share = Annotated[float, Field(gt=0, le=1)]


class OverSettings(Section):
    """A rule over a scope's totals: ``window`` in seconds, ``at_least`` so many finished attempts in it."""

    scope: Literal["campaign", "agent", "account", "number"]
    window: PositiveDuration
    at_least: int = Field(default=1, ge=1)


STOPPED_OVER: dict[str, tuple[str, ...]] = {
    "campaign": ("campaign",),
    "agent": ("agent",),
    "number": ("number",),
    "account": ("campaign", "agent"),
}
"""What totals can stop: the scope that they are of; those of an account, each of its campaigns or agents."""


class StopSettings(Section):
    """What a rule stops; ``hold`` in seconds (0.0 once, None until released), by default what fits the scope."""

    scope: ScopeKind
    hold: HoldSeconds = Field(default_factory=lambda known: DEFAULT_HOLD[known["scope"]])
    reach: Reach = Reach.KNOWN


class MatchesSettings(Section):
    """Act only on ``count`` matches for a scope within ``within`` seconds; ``of``: of the last so many events."""

    count: int = Field(ge=1)
    within: PositiveDuration
    of: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.of is not None and self.of < self.count:
            raise RefusedError(
                "of so few events there can never be so many matches", "raise `of`, or lower `count`", "of"
            )
        return self


class ThrottleSettings(Section):
    """How often a rule may act on one scope; durations in seconds."""

    once_per: PositiveDuration | None = None
    matches: MatchesSettings | None = None
    cool_down: PositiveDuration | None = None


class SignalSettings(Section):
    """How those who post signals for a rule prove who they are; as for webhooks."""

    auth: Annotated[WebhookAuth, BeforeValidator(none_as_mapping)]


class CanarySettings(Section):
    """The part of the calls that a rule in canary mode really stops: a share by hash, or named campaigns."""

    share: Share | None = None
    campaigns: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.share is None and not self.campaigns:
            raise RefusedError("a canary without share and campaigns stops nothing", "add `share` or `campaigns`")
        return self


SECRET_WORDS = ("secret", "token", "password", "api_key")


def _mask_params(params: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: "••••" if any(w in name.lower() for w in SECRET_WORDS) else value for name, value in params.items()}


class RuleSettings(Section):
    """One rule: a CEL expression (``when``) or a Python function (``handler``), and what it stops."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")
    when: Text | None = None
    over: OverSettings | None = None
    handler: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$")] | None = None
    stop: StopSettings | None = None
    mode: Mode = Mode.SHADOW
    canary: CanarySettings | None = None
    params: Annotated[dict[str, JsonValue], PlainSerializer(_mask_params, when_used="json")] = Field(default={})
    on_error: Literal["skip", "hold"] = "skip"
    reason: Text | None = None
    throttle: ThrottleSettings | None = None
    measures: dict[str, Text] = Field(default={})
    budget: PositiveDuration = DEFAULT_BUDGET_SECONDS
    signal: SignalSettings | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_all(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[RefusedError]:
        if self.when and self.handler:
            yield RefusedError("`when` and `handler` are two rules in one", "keep one of them, or write two rules")
        if not self.when and not self.handler:
            yield RefusedError("this rule has no condition", "add `when` (CEL) or `handler` (module:function)")
        if self.when and not self.stop:
            yield RefusedError("`when` without `stop` stops nothing", "add `stop: {scope: …}`")
        if self.over and self.stop and self.stop.scope not in STOPPED_OVER[self.over.scope]:
            yield RefusedError(
                "totals of one kind of scope cannot name another",
                f"write {' or '.join(STOPPED_OVER[self.over.scope])} here",
                *("stop", "scope"),
            )
        if self.over and self.over.window > LONGEST_SECONDS:
            yield RefusedError("totals are kept for 31 days", "write a shorter window", "over", "window")
        if self.measures and not (self.over and self.when):
            yield RefusedError(
                "only an expression over totals adds anything up", "add `over` and `when`, or remove it", "measures"
            )
        if self.signal and self.when:
            yield RefusedError(
                "no signal reaches an expression", "write `handler: manual` in place of `when`", "signal"
            )
        if self.mode is Mode.CANARY and not self.canary:
            yield RefusedError("canary mode without a share", "add `canary: {share: 0.05}` or `campaigns`", "mode")


class Limit(Section):
    """Above either, within ``within`` seconds, a rule's order waits for approval; ``share`` is of the open calls.

    A share of ``share_from`` calls or fewer is not looked at: of a handful of open calls each one is a large share.
    """

    calls: int = Field(default=500, ge=0)
    share: float = Field(default=0.10, ge=0, le=1)
    within: Annotated[PositiveDuration, Field(le=2_592_000.0)] = 3600.0
    share_from: int = Field(default=20, ge=0)


class LimitsSettings(Section):
    """How much rules may stop without asking; an operator's own order is never held up."""

    per_rule: Limit = Limit()
    per_account: Limit | None = None
    per_campaign: Limit | None = None


def _e164(number: str) -> str:
    number = normalise_number(number)
    if not E164.fullmatch(number):
        raise RefusedError(
            "this number would protect nobody: it is not E.164", "write + and the country code, in quotes"
        )
    return number


PhoneNumber = Annotated[str, AfterValidator(_e164), PlainSerializer(mask_number, when_used="json")]


class ProtectedSettings(Section):
    """What no rule ever stops."""

    campaigns: tuple[Text, ...] = ()
    agents: tuple[Text, ...] = ()
    numbers: tuple[PhoneNumber, ...] = ()
