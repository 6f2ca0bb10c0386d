"""The words of callbreaker as types. What handlers are written against is re-exported here."""

from consumer.model.accounts import Account
from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.provider import Answer, BatchOfCallIds, Capabilities, HttpRequest, HttpResponse, Provider
from consumer.model.rules import EventRule, Stop, rule
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
    "Provider",
    "Status",
    "Stop",
    "rule",
]
