"""The capability table as Markdown, made from the code. ``python -m handlers.providers.capability_table FILE`` renews it."""

import sys
from collections.abc import Callable
from pathlib import Path

from consumer.model.provider import Capabilities
from handlers.providers.table import PROVIDERS

BEGIN, END = "<!-- capabilities: made from the code -->", "<!-- capabilities: end -->"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _one_by_one(can: Capabilities) -> str:
    if not can.by_id:
        return "no"
    looked = ", each looked at right before" if can.look_before_stop else ""
    return f"{can.batch_limit} a request{looked}"


ROWS: dict[str, Callable[[Capabilities], str]] = {
    "stops calls by id": _one_by_one,
    "stops everything of": lambda can: ", ".join(sorted(can.everything)) or "nothing",
    "that spares live calls": lambda can: _yes(can.everything_spares_live) if can.everything else "-",
    "numbers in a request": lambda can: (
        str(can.numbers_limit) if any("number" in kind for kind in can.everything) else "-"
    ),
    "a stop may be repeated": lambda can: _yes(can.idempotent) if can.idempotent else "no, its state is read first",
    "its answer tells of each id": lambda can: _yes(can.per_id_answers) if can.by_id else "-",
    "one call can be asked for": lambda can: _yes(can.look_up),
    "call history": lambda can: _yes(can.history),
    "state of a campaign": lambda can: _yes(can.scope_state),
    "webhooks": lambda can: _yes(can.webhooks),
}


def render() -> str:
    """Give the table: a column for each provider, a row for each thing it can or cannot do."""
    lines = ["| | " + " | ".join(PROVIDERS) + " |", "|---" * (len(PROVIDERS) + 1) + "|"]
    for what, say in ROWS.items():
        lines.append(f"| {what} | " + " | ".join(say(p.capabilities) for p in PROVIDERS.values()) + " |")
    return "\n".join(lines)


def renewed(text: str) -> str:
    """Put the table between its two marks in a document.

    Raises:
        ValueError: a mark is missing.

    """
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    return f"{text[:before]}\n{render()}\n{text[after:]}"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(renewed(document.read_text()))
