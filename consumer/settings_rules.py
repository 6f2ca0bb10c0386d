"""What rules are, how much they may stop without asking, and what they never stop."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, PlainSerializer, model_validator

from consumer.model.accounts import Section, Text
from consumer.model.durations import HoldSeconds, PositiveDuration
from consumer.model.identity import mask_number
from consumer.model.orders import Mode, Reach
from consumer.model.refusals import RefusedError, refuse_all
from consumer.model.rules import DEFAULT_HOLD
from consumer.model.scopes import E164, ScopeKind, normalise_number

Share = Annotated[float, Field(gt=0, le=1)]


class OverSettings(Section):
    """A rule over a scope's totals: ``window`` in seconds, ``at_least`` so many finished attempts in it."""

    scope: Literal["campaign", "agent", "account", "number"]
    window: PositiveDuration
    at_least: int = Field(default=1, ge=1)


class StopSettings(Section):
    """What a rule stops; ``hold`` in seconds (0.0 once, None until released), by default what fits the scope."""

    scope: ScopeKind
    hold: HoldSeconds = Field(default_factory=lambda known: DEFAULT_HOLD[known["scope"]])
    reach: Reach = Reach.KNOWN


class CanarySettings(Section):
    """The part of the calls that a rule in canary mode really stops: a share by hash, or named campaigns."""

    share: Share | None = None
    campaigns: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.share is None and not self.campaigns:
            raise RefusedError("a canary without share and campaigns stops nothing", "add `share` or `campaigns`")
        return self


_SECRET_WORDS = ("secret", "token", "password", "api_key")


def _mask_params(params: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: "••••" if any(w in name.lower() for w in _SECRET_WORDS) else value for name, value in params.items()}


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
        if self.over and not self.when:
            yield RefusedError("`over` needs an expression over the totals", "add `when`, or remove `over`", "over")
        if self.over and self.stop and self.over.scope not in ("account", self.stop.scope):
            yield RefusedError(
                "totals of one kind of scope cannot name another", "write the scope of `over` here", "stop", "scope"
            )
        if self.mode is Mode.CANARY and not self.canary:
            yield RefusedError("canary mode without a share", "add `canary: {share: 0.05}` or `campaigns`", "mode")


class Limit(Section):
    """Above either, within ``within`` seconds, a rule's order waits for approval; ``share`` is of the open calls."""

    calls: int = Field(default=500, ge=0)
    share: float = Field(default=0.10, ge=0, le=1)
    within: PositiveDuration = 3600.0


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
