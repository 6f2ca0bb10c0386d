"""How the safety lever, rules and alerts look in the API and on the page."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from consumer.console.shown import iso
from consumer.console.state import RuleInForce
from consumer.kafka.order_tallies import Tally
from consumer.model.controls import Controls, Lever, RuleMode
from consumer.model.orders import Mode
from consumer.model.patience import PREFIX as SLOW_RULE


def lever(told: Lever | None) -> dict[str, Any]:
    """Show the safety lever; one that nobody ever touched is released."""
    return {
        "engaged": told.engaged if told else False,
        "reason": told.reason if told else None,
        "who": told.by.name if told else None,
        "by": told.by.kind if told else None,
        "at": iso(told.at) if told else None,
    }


def rules(
    in_force: Iterable[RuleInForce], controls: Controls, tallies: Mapping[str, Tally], failures: Callable[[str], int]
) -> list[dict[str, Any]]:
    """Show the rules in force, in the order of the configuration; ``failures`` says how often one of them raised."""
    return [
        _rule(one, controls.mode_of(one.name), tallies.get(one.name))
        | {"failures": failures(one.name), "suspended": _suspended(one.name, controls)}
        for one in in_force
    ]


def _suspended(rule: str, controls: Controls) -> list[str]:
    """Why processes have stopped asking a rule."""
    return [alert.text for name, alert in controls.alerts.items() if name.startswith(f"{SLOW_RULE}{rule}/")]


def _rule(one: RuleInForce, told: RuleMode | None, tally: Tally | None) -> dict[str, Any]:
    mode = told.mode if told and told.mode else one.mode
    canary = told if told and told.mode else one
    return {
        "name": one.name,
        "version": one.version,
        "hash": one.hash,
        "mode": mode,
        "configured_mode": one.mode,
        "canary_share": canary.canary_share if mode is Mode.CANARY else None,
        "canary_campaigns": list(canary.canary_campaigns) if mode is Mode.CANARY else [],
        "set": {"who": told.by.name, "reason": told.reason, "at": iso(told.at)} if told else None,
        "orders": tally.orders if tally else 0,
        "last_fired_at": iso(tally.last_at) if tally else None,
    }


def rules_file(controls: Controls) -> dict[str, Any] | None:
    """Show which set of rules was taken over last while the service ran."""
    told = controls.rules
    return {"version": told.version, "hash": told.hash, "at": iso(told.at), "who": told.by.name} if told else None


def alerts(controls: Controls) -> list[dict[str, Any]]:
    """Show what is loud now, the latest first."""
    active = sorted(controls.alerts.values(), key=lambda alert: (-alert.since, alert.name))
    return [{"name": one.name, "text": one.text, "since": iso(one.since), "by": one.by or None} for one in active]
