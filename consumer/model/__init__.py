"""The words of callbreaker as types. What handlers are written against is re-exported here."""

from consumer.model.accounts import Account
from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.over import Over, Totals
from consumer.model.provider import Answer, BatchOfCallIds, Capabilities, HttpRequest, HttpResponse, Provider
from consumer.model.rules import EventRule, Stop, TotalsRule, rule
from consumer.model.status import EventType, Status

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
