"""Rules: values go in, a wish to stop something comes out, or nothing.

    from consumer.model import Call, CallEvent, Over, Stop, Totals, rule

    @rule(on="analysis")
    def angry_caller(event: CallEvent, call: Call) -> Stop | None:
        if event.analysis.get("sentiment") == "angry":
            return Stop.number(call.number, reason="caller asked us to stop", hold="30d")

    @rule(over=Over("campaign", window="10m", at_least=50))
    def failing(totals: Totals) -> Stop | None:
        if totals.failed > 0.4 * totals.finished:
            return Stop.campaign(totals.name, reason="most calls fail")

A rule never does I/O and takes its time from what it is given, so the same records give the same decisions again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, overload

from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.over import Over
from consumer.model.rule_kinds import (
    DEFAULT_BUDGET_SECONDS,
    EventRule,
    Measured,
    Rule,
    RuleFunction,
    SignalRule,
    Silence,
    SilenceRule,
    TotalsRule,
)
from consumer.model.rule_params import bound_params, params_hash
from consumer.model.rule_source import source_hash, takes_params
from consumer.model.status import EventType
from consumer.model.stops import DEFAULT_HOLD, Aim, HoldText, RuleError, Stop
from consumer.model.totals import Measure

__all__ = [
    "DEFAULT_BUDGET_SECONDS",
    "DEFAULT_HOLD",
    "Aim",
    "EventRule",
    "HoldText",
    "Rule",
    "RuleError",
    "SignalRule",
    "Silence",
    "SilenceRule",
    "Stop",
    "TotalsRule",
    "configured",
    "rule",
    "source_hash",
]

_RuleT = TypeVar("_RuleT", bound=Rule)


@overload
def rule(function: RuleFunction) -> EventRule: ...


@overload
def rule(
    *,
    on: str | Iterable[str] | None = None,
    params: type[Any] | None = None,
    name: str | None = None,
    version: str = "1",
) -> Callable[[Callable[..., Stop | None]], EventRule]: ...


@overload
def rule(
    *,
    over: Over,
    measures: Measured | Callable[[Any], Measured] | None = None,
    params: type[Any] | None = None,
    name: str | None = None,
    version: str = "1",
) -> Callable[[Callable[..., Stop | Iterable[Stop] | None]], TotalsRule]: ...


def rule(
    function: RuleFunction | None = None,
    *,
    on: str | Iterable[str] | None = None,
    over: Over | None = None,
    measures: Measured | Callable[[Any], Measured] | None = None,
    params: type[Any] | None = None,
    name: str | None = None,
    version: str = "1",
) -> Any:
    """Make a function a rule: an ``EventRule``, or with ``over`` a ``TotalsRule``.

    Args:
        function: given when used without brackets.
        on: the event types it wants to see (``queued | started | finished | recording | analysis | other``); none: all.
        over: the totals it wants to see instead of events.
        measures: what the totals add up for it: a name, and a path in the event such as ``"analysis.score"`` or a function;
            where that depends on the params, a function of them that gives all this.
        params: a pydantic model of its ``params``, which the function then takes as its last argument; a function that takes
            one more argument without a model gets the mapping as it is configured.
        name: the name shown in decisions; the function's own by default.
        version: goes into every decision beside a hash of the source.

    Raises:
        RuleError: an event type or a measure that does not exist, or ``on`` together with ``over``.

    """

    def decorate(target: Callable[..., Any]) -> Rule:
        named = name or target.__name__
        if over is not None and on is not None:
            raise RuleError(f"rule {named!r}: it sees either events (`on`) or totals (`over`)")
        kind = params or (dict if takes_params(target, 1 if over else 2) else None)
        bind = _binding(target) if kind else None
        evaluate = _with_defaults(named, kind, bind) if kind and bind else target
        terms: dict[str, Any] = {"params_type": kind, "bind": bind}
        if over is not None:
            if callable(measures):
                terms |= {"measures_of": measures}
            else:
                terms |= {"measures": _measures(named, measures or {})}
            return TotalsRule(named, version, source_hash(target), evaluate, over, **terms)
        return EventRule(named, version, source_hash(target), evaluate, _types(named, on), **terms)

    return decorate(function) if function else decorate


def silence_rule(*, params: type[Any], version: str = "1") -> Callable[[Callable[..., str | None]], SilenceRule]:
    """Make a function of a ``Silence`` and its params a rule that alerts."""

    def decorate(target: Callable[..., str | None]) -> SilenceRule:
        bind = _binding(target)
        evaluate = _with_defaults(target.__name__, params, bind)
        return SilenceRule(target.__name__, version, source_hash(target), evaluate, params_type=params, bind=bind)

    return decorate


def configured(found: _RuleT, *, name: str, params: Mapping[str, Any] | None = None, **terms: Any) -> _RuleT:
    """Give a rule the name, the params and the terms (fields of ``Terms``) that the configuration says.

    Raises:
        RuleError: params that it does not take, or of the wrong type; the message names those that it takes.

    """
    changes: dict[str, Any] = {"name": name, **terms}
    if found.bind is not None:
        bound = bound_params(found.params_type, params or {})
        changes["evaluate"] = found.bind(bound)
        if isinstance(found, TotalsRule) and found.measures_of is not None:
            changes["measures"] = _measures(f"{name}/{params_hash(params or {})}", found.measures_of(bound))
    elif params:
        raise RuleError("it takes no `params`; remove them")
    if params:
        changes["hash"] = digest((found.hash, params_hash(params)), 6)
    return replace(found, **changes)


def _types(named: str, on: str | Iterable[str] | None) -> frozenset[EventType]:
    try:
        return frozenset(EventType(item) for item in ([on] if isinstance(on, str) else on or EventType))
    except ValueError as error:
        raise RuleError(f"rule {named!r}: {error}; the event types are {', '.join(EventType)}") from error


def _measures(named: str, told: Measured) -> dict[str, Measure]:
    return {key: _measure(named, key, one) for key, one in told.items()}


def _measure(named: str, key: str, told: str | Callable[[CallEvent], float | None]) -> Measure:
    if callable(told):
        return Measure(f"{named}.{key}.{source_hash(told)}", (), _careful(told))
    path = tuple(told.split("."))
    if path[0] not in CallEvent.__struct_fields__:
        raise RuleError(f"rule {named!r}: measure {key!r}: an event has no {path[0]!r}")
    return Measure(told, path)


def _careful(function: Callable[[CallEvent], float | None]) -> Callable[[CallEvent], float | None]:
    """Let an event that a measure cannot cope with add nothing: it is read by whoever folds all events."""

    def of(event: CallEvent) -> float | None:
        try:
            return function(event)
        except Exception:  # noqa: BLE001 -- people's code, which may raise anything
            return None

    return of


def _binding(target: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    return lambda params: lambda *values: target(*values, params)


def _with_defaults(named: str, kind: type[Any], bind: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    """What a rule does before it is configured: it has its default params, or says that it needs some."""
    try:
        return bind(bound_params(kind, {}))
    except RuleError as error:
        missing = f"rule {named!r} is not configured: {error}"

    def refuse(*_: Any) -> Any:
        raise RuleError(missing)

    return refuse
