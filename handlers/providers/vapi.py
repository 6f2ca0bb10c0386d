"""Vapi: its OpenAPI (VapiAI/docs, fern/apis/api/openapi.json) and docs.vapi.ai, server-url/events.

Everything comes as ``{"message": {"type": …, "call": {…}}}``; ``status-update`` is sent whenever a call's status changes.
``DELETE /call/{id}`` deletes a call with its record ("a scheduled call was deleted before it could execute"); what it
does to a live one is not said, so a call is looked at before. Its body may list ``ids``, and then the id in the path is
ignored: the body sent is always ``{}``. Cancelling a campaign deletes its scheduled calls and lets live ones finish.

``GET /call`` knows neither campaigns nor pages and gives whole transcripts, so it is no call history to poll.
"""

from collections.abc import Mapping
from typing import Any

from consumer.model.accounts import Account
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.provider import (
    Answer,
    BatchOfCallIds,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Look,
    NotUnderstood,
    ScopeState,
    Selector,
    WholeScope,
)
from consumer.model.scopes import ScopeKind
from consumer.model.status import EventType, Status
from consumer.model.terminations import AnswerClass
from handlers.providers import answers, fields
from handlers.providers.base import BaseProvider
from handlers.providers.rest import campaign_of, json_object, only_call_id, path_part

STATUSES = {
    "scheduled": Status.REGISTERED,
    "queued": Status.REGISTERED,
    "ringing": Status.ONGOING,
    "in-progress": Status.ONGOING,
    "forwarding": Status.ONGOING,
    "not-found": Status.ERROR,
}
"""``ended`` is read with its reason. ``deletion-failed`` tells that a record still exists, and nothing of its call."""

ENDED, SAYS_NOTHING = "ended", "deletion-failed"
CONNECTED = frozenset({"in-progress", "forwarding"})
CANCELLED_REASONS = frozenset({"scheduled-call-deleted", "manually-canceled", "call-deleted"})
FAILED_REASONS = frozenset(
    {
        "customer-busy",
        "customer-did-not-answer",
        "customer-did-not-give-microphone-permission",
        "assistant-not-valid",
        "assistant-not-found",
        "assistant-join-timed-out",
        "phone-call-provider-bypass-enabled-but-no-call-received",
        "phone-call-provider-closed-websocket",
        "twilio-reported-customer-misdialed",
        "vonage-disconnected",
        "vonage-rejected",
        "worker-shutdown",
    }
)
FAILED_PARTS = ("error", "fail", "fault", "assistant-request-", "call.ringing.")
"""587 of the 627 values of ``endedReason`` hold one of the first three; of the rest, these and those above are failures."""

TYPES = {Status.REGISTERED: EventType.QUEUED, Status.ONGOING: EventType.STARTED, Status.CANCELLED: EventType.OTHER}
CAMPAIGN_STOPPED = {"scheduled": False, "in-progress": False, "ended": True, "cancelled": True, "archived": True}


class Vapi(BaseProvider):
    """Calls one at a time while they wait, campaigns as a whole."""

    name = "vapi"
    default_base_url = "https://api.vapi.ai"
    capabilities = Capabilities(
        by_id=True,
        batch_limit=1,
        everything=frozenset({ScopeKind.CAMPAIGN}),
        everything_spares_live=True,
        idempotent=True,
        history=False,
        look_up=True,
        look_before_stop=True,
        scope_state=True,
    )

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        message = body.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise NotUnderstood("the body has no message.type")
        if not isinstance(message.get("call"), dict):
            raise NotUnderstood(f"message.call is missing, so this {message['type'][:60]} is about no call")
        data = fields.mapped(account, body, {**message, **_flat(message["call"], message)}, {})
        kind, status = _kind(message["type"], data)
        event = self._build(account, data, kind, status)
        event_id = fields.identifier(data.get("event_id"), "event_id") or event_id
        return (event.replaced(event_id=event_id, at=fields.timestamp(data.get("at"), "timestamp"), raw=body),)

    def terminate(self, account: Account, selector: Selector) -> HttpRequest:
        if isinstance(selector, BatchOfCallIds):
            call = path_part(only_call_id(selector), "a call")
            return self._request(account, "DELETE", f"/call/{call}", b"{}")
        campaign = path_part(campaign_of(selector), "a campaign")
        return self._request(account, "PATCH", f"/v2/campaign/{campaign}", b'{"status":"cancelled"}')

    def understand(self, response: HttpResponse) -> Answer:
        answer = answers.by_status(response, answers.message_in(response.body))
        if answer.answer is not AnswerClass.ACCEPTED:
            return answer
        try:
            body = json_object(response)
        except NotUnderstood as error:
            return Answer(AnswerClass.UNKNOWN, str(error))
        more = {name: body[name] for name in ("id", "status", "endedReason") if isinstance(body.get(name), str)}
        return Answer(AnswerClass.ACCEPTED, f"status {more.get('status', 'not told')}", more=more)

    def look_up(self, account: Account, call_id: str) -> HttpRequest:
        return self._request(account, "GET", f"/call/{path_part(call_id, 'a call')}")

    def read_look_up(self, account: Account, call_id: str, response: HttpResponse) -> Look:
        answer = self.understand(response)
        if answer.answer is not AnswerClass.ACCEPTED:
            return Look(answer)
        try:
            row = json_object(response)
            if row.get("id") != call_id:
                raise NotUnderstood("it is about another call")
            if row.get("status") == "not-found":
                return Look(Answer(AnswerClass.NOT_FOUND, "status not-found"))
            event = self._seen(account, row, response)
        except NotUnderstood as error:
            return Look(Answer(AnswerClass.UNKNOWN, f"the call cannot be read: {error}"))
        return Look(answer, event, None if event.status is None else event.status is not Status.REGISTERED)

    def scope_state(self, account: Account, whole: WholeScope) -> HttpRequest:
        return self._request(account, "GET", f"/v2/campaign/{path_part(campaign_of(whole), 'a campaign')}")

    def read_scope_state(self, account: Account, whole: WholeScope, response: HttpResponse) -> ScopeState:  # noqa: ARG002
        answer = self.understand(response)
        if answer.answer is not AnswerClass.ACCEPTED:
            return ScopeState(answer)
        if answer.more.get("id") != campaign_of(whole):
            return ScopeState(Answer(AnswerClass.UNKNOWN, "the answer is about another campaign"))
        return ScopeState(answer, CAMPAIGN_STOPPED.get(str(answer.more.get("status"))))

    def _request(self, account: Account, method: str, path: str, body: bytes | None = None) -> HttpRequest:
        headers = {"Authorization": f"Bearer {account.api_key.get_secret_value()}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return HttpRequest(method, self.url(account, path), headers, body)

    def _seen(self, account: Account, row: Mapping[str, Any], response: HttpResponse) -> CallEvent:
        """Read a call as it stands at the time of the look."""
        data = {**_flat(row, row), "call": row, "status": row.get("status"), "endedReason": row.get("endedReason")}
        kind, status = _kind("status-update", data)
        event = self._build(account, data, kind, status)
        told = digest((event.call_id, str(row.get("status")), str(row.get("createdAt"))), 12)
        return event.replaced(event_id=f"history-{told}", at=response.received_at, raw=row, source="history")

    def _build(self, account: Account, data: Mapping[str, Any], kind: EventType, status: Status | None) -> CallEvent:
        call = data["call"]
        overrides = fields.mapping(call.get("assistantOverrides"))
        analysis = fields.mapping(data.get("analysis"))
        return CallEvent(
            account=account.name,
            provider=self.name,
            call_id=fields.required_identifier(call.get("id"), "call.id"),
            event_id="",
            type=kind,
            status=status,
            attempt=fields.whole_number(data.get("attempt"), "attempt"),
            campaign_id=fields.identifier(data.get("campaign_id"), "call.campaignId"),
            agent_id=fields.identifier(data.get("agent_id"), "call.assistantId"),
            number=fields.phone_number(data.get("number"), "customer.number"),
            from_number=fields.phone_number(data.get("from_number"), "phoneNumber.number"),
            duration_seconds=_seconds(data) or _seconds(call),
            cost=fields.decimal_number(data.get("cost", call.get("cost")), "cost"),
            connected=status is Status.COMPLETED or data.get("status") in CONNECTED,
            analysis={**fields.mapping(analysis.get("structuredData")), **analysis},
            args={**fields.mapping(overrides.get("metadata")), **fields.mapping(overrides.get("variableValues"))},
        )


def _flat(call: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    """Put what Vapi keeps inside other objects under our names."""
    customer = fields.mapping(call.get("customer")) or fields.mapping(message.get("customer"))
    line = fields.mapping(call.get("phoneNumber")) or fields.mapping(message.get("phoneNumber"))
    return {
        "campaign_id": call.get("campaignId"),
        "agent_id": call.get("assistantId"),
        "number": customer.get("number"),
        "from_number": line.get("number"),
        "at": message.get("timestamp"),
    }


def _kind(message_type: str, data: Mapping[str, Any]) -> tuple[EventType, Status | None]:
    """Say what a message is about and where it puts the call; only two kinds of message put it anywhere.

    Raises:
        NotUnderstood: a status that is not documented.

    """
    if message_type == "end-of-call-report":
        return EventType.ANALYSIS, _end(data.get("endedReason")) if data.get("endedReason") else None
    if message_type != "status-update":
        return EventType.OTHER, None
    said = data.get("status")
    if said == ENDED:
        status = _end(data.get("endedReason") or data["call"].get("endedReason"))
        return TYPES.get(status, EventType.FINISHED), status
    if said == SAYS_NOTHING:
        return EventType.OTHER, None
    if said not in STATUSES:
        raise NotUnderstood(f"status is {str(said)[:40]!r}, which is not documented")
    status = STATUSES[said]
    return TYPES.get(status, EventType.FINISHED), status


def _end(reason: Any) -> Status:
    """Say how a call ended; a reason that is neither a cancellation nor a failure means that it took place."""
    reason = str(reason or "")
    if reason in CANCELLED_REASONS:
        return Status.CANCELLED
    failed = reason in FAILED_REASONS or any(part in reason for part in FAILED_PARTS)
    return Status.FAILED if failed else Status.COMPLETED


def _seconds(part: Mapping[str, Any]) -> float | None:
    """How long the call took, from its start to its end."""
    began, ended = (fields.timestamp(part.get(name), name) for name in ("startedAt", "endedAt"))
    return None if began is None or ended is None else max(ended - began, 0.0)
