"""What the commands print with: composed for a terminal, plain lines for a pipe."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

GAP, NARROWEST = 2, 12
NARROWEST_BODY = 40


def show_json(value: Any) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def show_facts(title: str, facts: Iterable[tuple[str, str]], console: Console = out) -> None:
    """Print a title and, below it, names and values in two columns."""
    known = list(facts)
    width = max(len(name) for name, _ in known)
    console.print(Text(title, style="bold"))
    for name, value in known:
        console.print(Text.assemble("  ", (name.ljust(width), "dim"), "  ", value))


def show_hanging(lead: Text, body: Text) -> None:
    """Print a line; on a terminal what does not fit goes on below the body's beginning."""
    if not out.is_terminal:
        out.print(lead + body)
        return
    indent = lead.cell_len
    lines = body.wrap(out, max(NARROWEST_BODY, out.width - indent))
    for line in lines:
        line.rstrip()
    out.print(lead + Text("\n" + " " * indent).join(lines))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print rows: a table on a terminal, which shortens the last column only, else tab-separated lines."""
    found = list(rows)
    if not found:
        err.print(Text(empty, style="dim"))
    elif not out.is_terminal:
        for row in found:
            typer.echo("\t".join(row))
    else:
        widths = [max(map(len, column)) for column in zip(columns, *found, strict=True)]
        used = sum(widths[:-1]) + GAP * len(widths)
        terminal = Console(highlight=False, width=max(out.width, used + NARROWEST))
        table = Table(box=None, header_style="dim", padding=(0, GAP, 0, 0))
        for column, width in zip(columns, [*widths[:-1], min(widths[-1], terminal.width - used)], strict=True):
            table.add_column(column, no_wrap=True, overflow="ellipsis", width=width)
        for row in found:
            table.add_row(*[Text(cell, style=style_of(cell)) for cell in row])
        terminal.print(table)


def style_of(word: str) -> str:
    """Give the colour of a word that says how something stands; none for any other."""
    return _STYLES.get(word, "")


_STYLES = {
    "in_force": "green",
    "confirmed": "green",
    "accepted": "cyan",
    "requested": "cyan",
    "waiting": "cyan",
    "awaiting_approval": "bold yellow",
    "proposed": "yellow",
    "missed": "yellow",
    "unconfirmed": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "rejected": "red",
    "not_found": "red",
    "expired": "dim",
    "released": "dim",
    "withdrawn": "dim",
    "shadow": "magenta",
}
