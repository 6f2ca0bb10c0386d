"""How the result of a backtest is printed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from consumer.commands.terminal import err, out, show_table

Json = Mapping[str, Any]

COLUMNS = (
    "rule",
    "mode",
    "orders",
    "held",
    "stopped",
    "false",
    "right",
    "cancelled",
    "open",
    "calls saved",
    "minutes",
    "cost",
)
_FIGURES = ("orders", "held", "stopped", "false_stops", "right_stops", "cancelled", "open", "saved_calls")


def show(result: Json) -> None:
    """Print a table of the rules, when each would have acted, and how the expectations stand."""
    show_table(COLUMNS, [_row(rule) for rule in result["rules"]], empty="no rules")
    for rule in result["rules"]:
        _show_rule(rule)
    _show_read(result)
    for wish in result["expectations"]:
        word, style = ("met", "green") if wish["met"] else ("not met", "bold red")
        out.print(Text.assemble((word, style), f"  {wish['expect']}: found {wish['found']:g}"))


def _row(rule: Json) -> tuple[str, ...]:
    counts = [str(rule[name]) for name in _FIGURES]
    return (rule["rule"], rule["mode"], *counts, f"{rule['saved_minutes']:.1f}", f"{rule['saved_cost']:.2f}")


def _show_rule(rule: Json) -> None:
    """Print what the table has no room for."""
    lines: list[str] = [f"not tried: {rule['not_tried']}"] if rule["not_tried"] else []
    if rule["first_at"]:
        days = ", ".join(f"{day}: {n['orders']} orders, {n['stopped']} calls" for day, n in rule["by_day"].items())
        lines.append(f"from {_when(rule['first_at'])} to {_when(rule['last_at'])} ({days})")
    if rule["stopped_in_canary"] is not None:
        lines.append(f"its canary would have stopped {rule['stopped_in_canary']} of the {rule['stopped']} calls")
    if rule["overlap"]:
        others = ", ".join(f"{name} ({count})" for name, count in rule["overlap"].items())
        lines.append(f"of its calls, these were also stopped by {others}")
    if rule["first_failure"]:
        lines.append(f"it failed {rule['failures']} times; first: {rule['first_failure']}")
    if lines:
        out.print(Text.assemble(("\n" + rule["rule"], "bold"), *(f"\n  {line}" for line in lines)))


def _show_read(result: Json) -> None:
    rate = result["events"] / result["seconds"] if result["seconds"] else 0.0
    told = f"\n{result['events']:,} events of {result['calls']:,} calls in {result['seconds']:.1f} s ({rate:,.0f} a second)"
    if result["warmed_up"]:
        told += f", after {result['warmed_up']:,} earlier ones that told how calls stood"
    if result["duplicates"]:
        told += f"; {result['duplicates']:,} came twice"
    out.print(Text(told, style="dim"))
    if result["skipped"]:
        first = "; ".join(result["reasons"])
        err.print(Text(f"{result['skipped']} could not be read: {first}", style="yellow"))


def _when(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone():%d %b %H:%M:%S}"
