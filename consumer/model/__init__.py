"""The words of callbreaker as types. What handlers are written against is re-exported here."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "Account",
    "Answer",
    "BatchOfCallIds",
    "Call",
    "CallEvent",
    "Capabilities",
    "EventRule",
    "EventType",
    "HttpRequest",
    "HttpResponse",
    "Over",
    "Provider",
    "Status",
    "Stop",
    "Totals",
    "TotalsRule",
    "rule",
]

if TYPE_CHECKING:
    from consumer.model.accounts import Account
    from consumer.model.calls import Call
    from consumer.model.events import CallEvent
    from consumer.model.over import Over, Totals
    from consumer.model.provider import Answer, BatchOfCallIds, Capabilities, HttpRequest, HttpResponse, Provider
    from consumer.model.rules import EventRule, Stop, TotalsRule, rule
    from consumer.model.status import EventType, Status
else:
    _HOMES = {
        "accounts": ("Account",),
        "calls": ("Call",),
        "events": ("CallEvent",),
        "over": ("Over", "Totals"),
        "provider": ("Answer", "BatchOfCallIds", "Capabilities", "HttpRequest", "HttpResponse", "Provider"),
        "rules": ("EventRule", "Stop", "TotalsRule", "rule"),
        "status": ("EventType", "Status"),
    }

    def __getattr__(name: str) -> Any:
        """Import a name when it is first asked for: a client command needs few of these words, and no pydantic."""
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{home}"), name)
