"""From the configured rules to those that run."""

from dataclasses import replace
from typing import Any

from consumer.model.over import Over
from consumer.model.rule_set import RuleSet
from consumer.model.rules import Aim, Rule, RuleError, SignalRule, TotalsRule, configured
from consumer.model.scopes import ScopeKind
from consumer.model.stops import DEFAULT_HOLD
from consumer.model.throttles import NO_THROTTLE, Matches, Throttle
from consumer.service.assembly_signals import aim_of
from consumer.settings import RuleSettings, Settings
from handlers.rules.catalog import find
from handlers.rules.cel import cel_rule
from handlers.rules.cel_totals import cel_totals_rule

ONE_SIGNAL = Matches(1, 60.0)
"""A signal is a match that guard turns into an order, and one is enough."""


def rules_of(settings: Settings) -> RuleSet:
    """Compile the configured rules.

    Raises:
        RuleError: a rule cannot be found, does not compile, or is told what it cannot do; the message names it.

    """
    return RuleSet.of([_rule(rule) for rule in settings.rules])


def _rule(settings: RuleSettings) -> Rule:
    if settings.handler is None:
        return configured(_expression(settings), name=settings.name, **_terms(settings))
    try:
        found = _with_over(find(settings.handler), settings)
        terms = _terms(settings)
        if found.aim is not None and terms["aim"] is None:
            del terms["aim"]
        ready = configured(found, name=settings.name, params=settings.params, **terms)
        if isinstance(ready, TotalsRule) and ready.aim is None and ready.over.scope != "account":
            kind = ScopeKind(ready.over.scope)  # what it is over is what a failure of it can hold
            ready = replace(ready, aim=Aim(kind, DEFAULT_HOLD[kind]))
        if isinstance(ready, SignalRule) and ready.throttle.matches is None:
            ready = replace(ready, throttle=replace(ready.throttle, matches=ONE_SIGNAL))
        _check(ready, settings)
    except RuleError as error:
        raise RuleError(f"rule {settings.name}: {error}") from error
    return ready


def _expression(settings: RuleSettings) -> Rule:
    if settings.when is None or settings.stop is None:
        raise RuleError(f"rule {settings.name}: it has neither `handler` nor `when` with `stop`")
    told: dict[str, Any] = {
        "aim": aim_of(settings),
        "reason": settings.reason,
        "params": settings.params,
    }
    if settings.over is not None:
        over = Over(settings.over.scope, settings.over.window, settings.over.at_least)
        return cel_totals_rule(settings.name, settings.when, over=over, measures=settings.measures, **told)
    return cel_rule(settings.name, settings.when, **told)


def _with_over(found: Rule, settings: RuleSettings) -> Rule:
    """Let the configuration say over which totals a rule decides."""
    if settings.over is None:
        return found
    if not isinstance(found, TotalsRule):
        raise RuleError("it sees no totals, so `over` does nothing; remove it")
    return found.with_over(Over(settings.over.scope, settings.over.window, settings.over.at_least))


def _terms(settings: RuleSettings) -> dict[str, Any]:
    canary = settings.canary
    return {
        "mode": settings.mode,
        "canary_share": canary.share if canary and canary.share is not None else 1.0,
        "canary_campaigns": canary.campaigns if canary else (),
        "throttle": _throttle(settings),
        "on_error": settings.on_error,
        "aim": aim_of(settings),
        "budget_seconds": settings.budget,
    }


def _throttle(settings: RuleSettings) -> Throttle:
    told = settings.throttle
    if told is None:
        return NO_THROTTLE
    wanted = told.matches
    matches = Matches(wanted.count, wanted.within, wanted.of) if wanted else None
    return Throttle(told.once_per or 0.0, matches, told.cool_down or 0.0)


def _check(rule: Rule, settings: RuleSettings) -> None:
    """Refuse what a rule in Python cannot do without more being said."""
    if isinstance(rule, SignalRule) != (settings.signal is not None):
        if settings.signal is not None:
            raise RuleError("no signal reaches it; only `handler: manual` takes `signal`")
        raise RuleError("it is for signals from outside; add `signal: {auth: …}`, with a secret of its own")
    if rule.on_error == "hold" and rule.aim is None:
        raise RuleError("`on_error: hold` needs `stop`: what is to wait for approval when the function raises")
    matches = rule.throttle.matches
    if matches is not None and matches.of is not None and rule.aim is None:
        raise RuleError("`matches.of` needs `stop`: the scope for which the events that did not match are counted")
