"""What led to an order, and who let it through: lines of a call's story. Pure: the API's answer in, lines out."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

Json = Mapping[str, Any]

LONGEST_EXPRESSION = 160


class Told(NamedTuple):
    """One thing that happened to an order, and the small print."""

    at: datetime
    what: str
    text: str
    detail: str = ""


def told_of_order(order: Json) -> Iterator[Told]:
    """Tell how an order of ``GET /api/v1/calls/…`` came to be, if a rule made it, and what happened to it."""
    if order.get("rule"):
        yield Told(_time(order["created_at"]), "order", _given(order), _founded(order))
    for change in order.get("changes") or ():
        detail = "; ".join(_limit(limit) for limit in (change["details"] or {}).get("limits") or ())
        text = f"{change['what']} by {change['who']}: {change['reason']}"
        yield Told(_time(change["at"]), "order", text, detail)


def _given(order: Json) -> str:
    rule = order["rule"]
    text = f"rule {rule['name']} {rule['version'] or ''} ({rule['hash'] or 'no hash'}) wanted {order['scope']} stopped"
    explanation = order.get("explanation") or {}
    if explanation.get("expression"):
        text += f": {explanation['expression'][:LONGEST_EXPRESSION]}"
    values = ", ".join(f"{name} = {_value(value)}" for name, value in (explanation.get("values") or {}).items())
    return text + (f" with {values}" if values else "")


def _founded(order: Json) -> str:
    return ", ".join(_event(position) for position in order.get("evidence") or ())


def _event(position: Json) -> str:
    place = f"{position['topic']}/{position['partition']}@{position['offset']}"
    event = position.get("event")
    return f"{event['type']} of call {event['call_id']} {place}" if event else place


def _limit(limit: Json) -> str:
    """Say what a limit came to: so many calls with this order, and what there may be."""
    return f"{limit['of']}: {limit['with_it']} of {limit['calls']} calls" + (" (over)" if limit.get("over") else "")


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
