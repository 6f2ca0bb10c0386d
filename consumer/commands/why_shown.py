"""Why a call was or was not stopped, in lines: the answer of ``GET /api/v1/calls/…/why``."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from consumer.commands.terminal import out, show_hanging, style_of

Json = Mapping[str, Any]


def show_why(why: Json) -> None:
    """Print what is aimed at the call with what came of it, and what the rules say of its events."""
    heading = "Orders aimed at it" if why["orders"] else "No order is aimed at it."
    out.print(Text(f"\n{heading}", style="bold"))
    for order in why["orders"]:
        _show_order(order)
    if why["rules"]:
        out.print(Text("\nWhat the rules say of its events", style="bold"))
    for rule in why["rules"]:
        for lead, body in _rule(rule):
            show_hanging(lead, body)
    if not why["whole_history"]:
        out.print(
            Text("Its first events have left the log, so rules that look at its past may say otherwise.", style="dim")
        )


def _show_order(order: Json) -> None:
    by = f"rule {order['who']}" if order["by"] == "rule" else f"{order['by']} {order['who']}"
    word = "stopped" if order["stopped"] else "not stopped"
    lead = Text.assemble("  ", (f"{word:12}", "green" if order["stopped"] else "yellow"))
    show_hanging(lead, Text(order["text"]))
    named = (f"{by}, {order['scope']}, {order['mode']}, ", "dim")
    state = (order["state"], style_of(order["state"]))
    show_hanging(Text(" " * lead.cell_len), Text.assemble(named, state, (f" [{order['order_id']}]", "dim")))


def _rule(rule: Json) -> Iterator[tuple[Text, Text]]:
    said = f"matched {rule['matched']} of {rule['asked']} events" if rule["asked"] else rule["note"]
    yield Text.assemble("  ", (rule["rule"], "bold"), (f" ({rule['mode']})  ", "dim")), Text(said)
    for answer in rule["answers"]:
        word = "failed" if answer["error"] else "matched" if answer["matched"] else "no match"
        values = ", ".join(f"{name} = {_value(value)}" for name, value in answer["values"].items())
        why = answer["error"] or answer["reason"] or ""
        lead = Text.assemble((f"    {word:9}", style_of(word)), f" {answer['type']} ")
        yield lead, Text.assemble((f" {values}", "dim"), f" {why}" if why else "")


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
