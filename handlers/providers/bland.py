"""Bland: docs.bland.ai, api-v1 (calls, calls-id, calls-id-stop, campaigns-id, campaigns-id-stop) and post-call-webhooks.

Both stops hang up live calls: a campaign's ("a campaign and all associated calls") and a call's ("End an active phone
call … can also be used to cancel scheduled calls"). A call is therefore looked at right before it is stopped. Errors may
come as HTTP 200 with ``status: error``, so the body decides.

Webhooks have no event name. The post-call webhook is taken to be the call-details object; a batch's ``status_webhook``
tells of no call and is kept as an event of its own, see ``BATCH``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from consumer.model.accounts import Account
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.provider import (
    Answer,
    BatchOfCallIds,
    Capabilities,
    HistoryPage,
    HistoryQuery,
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
from handlers.providers.rest import campaign_of, count, json_object, only_call_id, path_part

BATCH = "batch:"
"""Before a batch's id, the call id of what its ``status_webhook`` tells: an ``other`` event that no call id can meet."""

ALL_CALLS = frozenset({"active"})
"""``POST /v1/calls/active/stop`` is another endpoint: it hangs up every active call of the account."""

WAITING = frozenset({"new", "queued", "allocated"})
LIVE = frozenset({"started"})
NOT_DIALLED = frozenset({"pre_queue_error", "queue_error", "call_error"})
OVER = NOT_DIALLED | {"complete", "completed", "complete_error"}
"""``queue_status``: the older page lists ``complete``, examples of the newer one show ``completed``."""

TYPES = {Status.REGISTERED: EventType.QUEUED, Status.ONGOING: EventType.STARTED, Status.CANCELLED: EventType.OTHER}
OWN_NAMES = {"number": "to", "from_number": "from", "status": "queue_status"}
CAMPAIGN_STOPPED = {"active": False, "stopped": True, "cancelled": True, "completed": True}
"""``campaign_state``: the page shows ``active`` and lists no others; any other word cannot be told."""


class Bland(BaseProvider):
    """Calls one at a time, campaigns as a whole; the key goes into ``authorization`` as it is, without ``Bearer``."""

    name = "bland"
    default_base_url = "https://api.bland.ai"
    capabilities = Capabilities(
        by_id=True,
        batch_limit=1,
        everything=frozenset({ScopeKind.CAMPAIGN}),
        everything_spares_live=False,
        idempotent=True,
        history=True,
        look_up=True,
        look_before_stop=True,
        scope_state=True,
    )

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        if body.get("call_id") or body.get("c_id"):
            return self._call_events(account, body, event_id)
        if body.get("batch_id") and body.get("status"):
            return (self._batch_event(account, body, event_id),)
        raise NotUnderstood("the body has neither call_id nor batch_id with status")

    def terminate(self, account: Account, selector: Selector) -> HttpRequest:
        if isinstance(selector, BatchOfCallIds):
            call = path_part(only_call_id(selector), "a call", ALL_CALLS)
            return self._request(account, "POST", f"/v1/calls/{call}/stop")
        return self._request(account, "POST", f"/v1/campaigns/{path_part(campaign_of(selector), 'a campaign')}/stop")

    def understand(self, response: HttpResponse) -> Answer:
        message = answers.message_in(response.body)
        by_status = answers.by_status(response, message)
        try:
            body = json_object(response)
        except NotUnderstood as error:
            return replace(by_status, answer=AnswerClass.UNKNOWN, detail=str(error)) if _is_2xx(response) else by_status
        if _is_2xx(response) and body.get("status") == "success":
            more = {"campaign_id": body["campaign_id"]} if isinstance(body.get("campaign_id"), str) else {}
            return Answer(AnswerClass.ACCEPTED, message, reported=count(body.get("num_calls")), more=more)
        if "not found" in message.lower() and response.status in {200, 400, 404}:
            return Answer(AnswerClass.NOT_FOUND, message)
        if _is_2xx(response):
            return Answer(AnswerClass.UNKNOWN, f"HTTP {response.status}, but status is not success: {message}")
        return by_status

    def look_up(self, account: Account, call_id: str) -> HttpRequest:
        return self._request(account, "GET", f"/v1/calls/{path_part(call_id, 'a call', ALL_CALLS)}")

    def read_look_up(self, account: Account, call_id: str, response: HttpResponse) -> Look:
        refusal, body = self._read(response)
        if refusal is not None:
            return Look(refusal)
        try:
            if _call_id(body) != call_id:
                raise NotUnderstood("it is about another call")
            event = self._seen(account, body, response)
        except NotUnderstood as error:
            return Look(Answer(AnswerClass.UNKNOWN, f"the call details cannot be read: {error}"))
        if event.status is None:
            detail = f"queue_status is {str(body.get('queue_status'))[:40]!r}, which is not documented"
            return Look(Answer(AnswerClass.ACCEPTED, detail), event)
        return Look(Answer(AnswerClass.ACCEPTED), event, started=event.status is not Status.REGISTERED)

    def history(self, account: Account, query: HistoryQuery) -> HttpRequest:
        asked = {"from": str(query.offset), "to": str(query.offset + query.limit), "limit": str(query.limit)}
        if query.campaign_id:
            asked["campaign_id"] = query.campaign_id
        if query.number:
            asked["to_number"] = query.number
        if query.statuses and len({status.final for status in query.statuses}) == 1:
            asked["completed"] = "true" if query.statuses[0].final else "false"
        return self._request(account, "GET", f"/v1/calls?{urlencode(asked)}")

    def read_history(self, account: Account, query: HistoryQuery, response: HttpResponse) -> HistoryPage:
        refusal, body = self._read(response)
        if refusal is not None:
            return HistoryPage(refusal)
        rows = body.get("calls")
        if not isinstance(rows, list):
            return HistoryPage(Answer(AnswerClass.UNKNOWN, "the call history cannot be read: it has no calls"))
        events = []
        for row in rows:
            try:
                event = self._seen(account, fields.mapping(row), response, query.campaign_id)
            except NotUnderstood:
                continue  # one row that cannot be read takes none of the others with it
            if event.status is not None and (not query.statuses or event.status in query.statuses):
                events.append(event)
        total, following = count(body.get("total_count")), query.offset + len(rows)
        more = bool(rows) and (len(rows) >= query.limit if total is None else following < total)
        page = Answer(AnswerClass.ACCEPTED)
        return HistoryPage(page, tuple(events), replace(query, offset=following) if more else None)

    def scope_state(self, account: Account, whole: WholeScope) -> HttpRequest:
        return self._request(account, "GET", f"/v1/campaigns/{path_part(campaign_of(whole), 'a campaign')}")

    def read_scope_state(self, account: Account, whole: WholeScope, response: HttpResponse) -> ScopeState:  # noqa: ARG002
        refusal, body = self._read(response)
        if refusal is not None:
            return ScopeState(refusal)
        rows = body.get("campaigns")
        rows = [fields.mapping(row) for row in rows] if isinstance(rows, list) else []
        states = {str(row.get("campaign_state"))[:40] for row in rows if row.get("campaign_id") == campaign_of(whole)}
        told = {CAMPAIGN_STOPPED.get(state.lower()) for state in states}
        stopped = False if False in told else True if told == {True} else None
        return ScopeState(
            Answer(AnswerClass.ACCEPTED, f"campaign_state is {', '.join(sorted(states)) or 'absent'}"), stopped
        )

    def _request(self, account: Account, method: str, path: str) -> HttpRequest:
        key = account.api_key.get_secret_value()
        return HttpRequest(method=method, url=self.url(account, path), headers={"authorization": key})

    def _read(self, response: HttpResponse) -> tuple[Answer | None, Mapping[str, Any]]:
        """Read an answer that is no stop's: why it says nothing, else its body."""
        try:
            body = json_object(response)
        except NotUnderstood:
            return self.understand(response), {}
        failed = not _is_2xx(response) or (body.get("status") == "error" and "call_id" not in body)
        return (self.understand(response), {}) if failed else (None, body)

    def _call_events(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        """Read a post-call webhook: how the call ended and, where it was analysed, a second event with that."""
        data = fields.mapped(account, body, body, OWN_NAMES)
        event = self._build(account, body, data, fields.identifier(data.get("event_id"), "event_id") or event_id)
        if event.status is None:
            raise NotUnderstood(f"queue_status is {str(data.get('queue_status'))[:40]!r}, which is not documented")
        if not event.analysis:
            return (event,)
        analysed = event.replaced(event_id=f"{event.event_id}-analysis", type=EventType.ANALYSIS, status=None)
        return event, analysed

    def _batch_event(self, account: Account, body: Mapping[str, Any], event_id: str) -> CallEvent:
        batch_id = fields.required_identifier(body["batch_id"], "batch_id")
        return CallEvent(
            account=account.name,
            provider=self.name,
            call_id=fields.required_identifier(BATCH + batch_id, "batch_id"),
            event_id=event_id,
            type=EventType.OTHER,
            campaign_id=batch_id,
            at=fields.timestamp(body.get("timestamp"), "timestamp"),
            raw=body,
        )

    def _seen(
        self, account: Account, row: Mapping[str, Any], response: HttpResponse, campaign_id: str | None = None
    ) -> CallEvent:
        """Read a call as it stands at the time of the look."""
        event = self._build(account, row, row, "")
        campaign_id = event.campaign_id or campaign_id
        told = digest((event.call_id, str(event.status), str(row.get("created_at")), campaign_id or ""), 12)
        return event.replaced(
            event_id=f"history-{told}",
            campaign_id=campaign_id,
            at=response.received_at,
            source="history",
        )

    def _build(self, account: Account, whole: Mapping[str, Any], data: Mapping[str, Any], event_id: str) -> CallEvent:
        get = data.get
        status = _status(data)
        minutes = fields.decimal_number(get("call_length"), "call_length")
        summary = {"summary": get("summary")} if isinstance(get("summary"), str) else {}
        return CallEvent(
            account=account.name,
            provider=self.name,
            call_id=_call_id(data),
            event_id=event_id,
            type=EventType.OTHER if status is None else TYPES.get(status, EventType.FINISHED),
            status=status,
            attempt=fields.whole_number(get("attempt"), "attempt"),
            campaign_id=fields.identifier(get("campaign_id") or get("batch_id"), "campaign_id"),
            agent_id=fields.identifier(get("agent_id") or get("pathway_id"), "agent_id"),
            number=fields.phone_number(get("to"), "to"),
            from_number=fields.phone_number(get("from"), "from"),
            at=fields.timestamp(get("at"), "at") or _ended_at(data, minutes),
            duration_seconds=None if minutes is None else minutes * 60,
            cost=fields.decimal_number(get("price"), "price"),
            connected=_was_connected(data),
            analysis={**summary, **fields.mapping(get("analysis"))},
            args={**fields.mapping(get("variables")), **fields.mapping(get("metadata"))},
            raw=whole,
        )


def _is_2xx(response: HttpResponse) -> bool:
    return 200 <= response.status < 300


def _call_id(data: Mapping[str, Any]) -> str:
    return fields.required_identifier(data.get("call_id") or data.get("c_id"), "call_id")


def _status(data: Mapping[str, Any]) -> Status | None:
    """Say where a call stands. ``completed`` is "the most up-to-date" of the two, and a connected call waits no more."""
    queue = str(data.get("queue_status") or "").lower()
    if data.get("completed") is True or queue in OVER:
        return _end(data, queue)
    if queue in LIVE or data.get("started_at"):
        return Status.ONGOING
    return Status.REGISTERED if queue in WAITING else None


def _end(data: Mapping[str, Any], queue: str) -> Status:
    """Say how a call ended. That it was stopped before it connected must be said somewhere: silence is a failed call."""
    if queue in NOT_DIALLED:
        return Status.FAILED
    if _was_connected(data):
        return Status.COMPLETED
    said = " ".join(str(data.get(name) or "") for name in ("status", "queue_status", "error_message")).lower()
    return Status.CANCELLED if "cancel" in said or "stopped" in said else Status.FAILED


def _was_connected(data: Mapping[str, Any]) -> bool:
    """Whether somebody, or a machine, took the call; ``answered_by`` is null where nobody asked for it."""
    if data.get("answered_by") == "no-answer":
        return False
    return data.get("answered_by") in {"human", "voicemail"} or bool(data.get("started_at") or data.get("call_length"))


def _ended_at(data: Mapping[str, Any], minutes: float | None) -> float | None:
    """When the call ended: no field says it (``end_at`` is when it would have been cut), but start and length do."""
    started_at = fields.timestamp(data.get("started_at"), "started_at")
    return None if started_at is None or minutes is None else started_at + minutes * 60
