"""Ringg: docs.ringg.ai, webhooks/payloads (older and newer) and campaign/terminate.

Ringg sends an event's name under ``event_type``; ``call_completed`` comes once per *attempt*, with ``retry_count``. The
per-call ``callback_url`` sends another envelope, the only documented channel that tells of ``registered``.

Terminate touches only ``registered`` and ``retry``. Its answer never says which ids it took: "Invalid IDs will be
ignored". One endpoint takes four selectors, and a stray one stops a whole agent; hence the check on the bytes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from consumer.model.accounts import LARGEST_BATCH, Account
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
    Selector,
    UnsafeRequest,
)
from consumer.model.scopes import ScopeKind
from consumer.model.status import TERMINABLE, EventType, Status
from consumer.model.terminations import AnswerClass
from handlers.providers import answers, fields
from handlers.providers.base import BaseProvider

EVENT_TYPES = {
    "call_started": EventType.STARTED,
    "call_completed": EventType.FINISHED,
    "recording_completed": EventType.RECORDING,
    "platform_analysis_completed": EventType.ANALYSIS,
    "client_analysis_completed": EventType.ANALYSIS,
    "all_processing_completed": EventType.ANALYSIS,
}
TYPE_OF_STATUS = {
    Status.REGISTERED: EventType.QUEUED,
    Status.ONGOING: EventType.STARTED,
    Status.RETRY: EventType.FINISHED,
    Status.COMPLETED: EventType.FINISHED,
    Status.FAILED: EventType.FINISHED,
    Status.ERROR: EventType.FINISHED,
    Status.CANCELLED: EventType.OTHER,
}
OWN_NAMES = {
    "campaign_id": "bulk_list_id",
    "number": "to_number",
    "at": "called_on",
}
OWN_NAMES_OF_EVENTS = {**OWN_NAMES, "attempt": "retry_count"}
OWN_NAMES_OF_CALLBACKS = {**OWN_NAMES, "attempt": "retry"}
SELECTORS = frozenset(
    frozenset(names)
    for names in (
        ("call_ids",),
        ("agent_id",),
        ("campaign_id",),
        ("mobile_numbers",),
        ("campaign_id", "mobile_numbers"),
    )
)
ANALYSIS_FIELDS = ("analysis", "platform_analysis", "client_analysis", "analysis_data")


class Ringg(BaseProvider):
    """The Ringg API; its white labels differ in host and paths only."""

    name = "ringg"
    default_base_url = "https://prod-api.ringg.ai/ca/api/v0"
    terminate_calls_path = "/campaign/terminate"
    terminate_scope_path = "/campaign/terminate"
    capabilities = Capabilities(
        by_id=True,
        batch_limit=100,
        everything=frozenset(
            {ScopeKind.AGENT, ScopeKind.CAMPAIGN, ScopeKind.NUMBER_IN_CAMPAIGN, ScopeKind.NUMBER},
        ),
        everything_spares_live=True,
        idempotent=True,
        history=True,
        look_up=True,
    )

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        if "event_type" in body:
            return (self._event(account, body, event_id),)
        if isinstance(body.get("data"), dict) and "call_id" in body["data"]:
            return (self._callback(account, body, event_id),)
        raise NotUnderstood("the body has neither event_type nor data.call_id")

    def terminate(self, account: Account, selector: Selector) -> HttpRequest:
        if isinstance(selector, BatchOfCallIds):
            return self._patch(account, self.terminate_calls_path, {"call_ids": list(selector.call_ids)})
        scope = selector.scope
        if scope.kind not in self.capabilities.everything:
            raise UnsafeRequest(f"{self.name} cannot stop a whole {scope.kind}")
        return self._patch(account, self.terminate_scope_path, scope.as_dict())

    def understand(self, response: HttpResponse) -> Answer:
        message = answers.message_in(response.body)
        if response.status == 400 and "no terminable calls" in message.lower():
            return Answer(AnswerClass.NONE_TERMINABLE, message)
        return answers.by_status(response, message)

    def look_up(self, account: Account, call_id: str) -> HttpRequest:
        return self._get(account, "/calling/call-details", {"id": call_id})

    def read_look_up(self, account: Account, call_id: str, response: HttpResponse) -> Look:
        answer = self.understand(response)
        if answer.answer is not AnswerClass.ACCEPTED:
            return Look(answer)
        try:
            data = fields.mapping(orjson.loads(response.body)).get("data")
            if not isinstance(data, dict):
                raise NotUnderstood("the answer has no data")
            if data.get("id", call_id) != call_id:
                raise NotUnderstood("the answer is about another call")
            event = self._seen(account, {**data, "id": call_id}, response)
        except (orjson.JSONDecodeError, NotUnderstood) as error:
            return Look(Answer(AnswerClass.UNKNOWN, f"the call details cannot be read: {error}"))
        return Look(answer, event, started=event.status not in TERMINABLE)

    def history(self, account: Account, query: HistoryQuery) -> HttpRequest:
        asked: dict[str, str] = {"limit": str(query.limit), "offset": str(query.offset)}
        if query.campaign_id:
            asked["bulk_list_id"] = query.campaign_id
        if query.agent_id:
            asked["agent_id"] = query.agent_id
        if len(query.statuses) == 1:
            asked["status"] = query.statuses[0]
        return self._get(account, "/calling/history", asked)

    def read_history(self, account: Account, query: HistoryQuery, response: HttpResponse) -> HistoryPage:
        answer = self.understand(response)
        if answer.answer is not AnswerClass.ACCEPTED:
            return HistoryPage(answer)
        try:
            page = fields.mapping(orjson.loads(response.body))
            rows = page.get("calls")
            if not isinstance(rows, list):
                raise NotUnderstood("the answer has no calls")
            total = fields.decimal_number(page.get("total"), "total")
        except (orjson.JSONDecodeError, NotUnderstood) as error:
            return HistoryPage(Answer(AnswerClass.UNKNOWN, f"the call history cannot be read: {error}"))
        events = []
        for row in rows:
            try:
                events.append(self._seen(account, fields.mapping(row), response, query.campaign_id))
            except NotUnderstood:
                continue  # a row of a status nobody documented says nothing; the others do
        following = query.offset + len(rows)
        more = bool(rows) and (total is None or following < total)
        return HistoryPage(answer, tuple(events), replace(query, offset=following) if more else None)

    def _seen(
        self, account: Account, row: Mapping[str, Any], response: HttpResponse, campaign_id: str | None = None
    ) -> CallEvent:
        """Read a row of the history, or the details of a call: how it stands at the time of the look."""
        call_id = fields.required_identifier(row.get("id"), "id")
        status = fields.call_status(row.get("status") or row.get("call_status"), "status")
        if status is None:
            raise NotUnderstood("status is missing")
        began = str(row.get("call_attempt_time") or row.get("initiation_time") or row.get("created_at") or "")
        campaign_id = campaign_id or fields.identifier(row.get("bulk_list_id"), "bulk_list_id")
        return CallEvent(
            account=account.name,
            provider=self.name,
            call_id=call_id,
            # a row names no campaign: the same one in the campaign's own listing says more
            event_id=f"history-{digest((call_id, status, began, campaign_id or ''), 12)}",
            type=TYPE_OF_STATUS[status],
            status=status,
            campaign_id=campaign_id,
            agent_id=_agent(row),
            number=fields.phone_number(row.get("to_number"), "to_number"),
            from_number=fields.phone_number(row.get("from_number"), "from_number"),
            at=response.received_at,
            duration_seconds=fields.decimal_number(row.get("call_duration"), "call_duration"),
            cost=fields.decimal_number(row.get("call_cost"), "call_cost"),
            connected=status is Status.COMPLETED,
            raw=row,
            source="history",
        )

    def _patch(self, account: Account, path: str, named: dict[str, Any]) -> HttpRequest:
        """Make the one kind of request that stops calls, and look at its bytes once more."""
        body = orjson.dumps(named)
        check_selector(body, named)
        return HttpRequest(
            method="PATCH",
            url=self.url(account, path),
            headers={"X-API-KEY": account.api_key.get_secret_value(), "Content-Type": "application/json"},
            body=body,
        )

    def _get(self, account: Account, path: str, asked: Mapping[str, str]) -> HttpRequest:
        return HttpRequest(
            method="GET",
            url=f"{self.url(account, path)}?{urlencode(asked)}",
            headers={"X-API-KEY": account.api_key.get_secret_value()},
        )

    def _event(self, account: Account, body: Mapping[str, Any], event_id: str) -> CallEvent:
        kind = EVENT_TYPES.get(str(body["event_type"]))
        if kind is None:
            raise NotUnderstood(f"event_type is {str(body['event_type'])[:60]!r}, which is not documented")
        data = fields.mapped(account, body, body, OWN_NAMES_OF_EVENTS)
        status = fields.call_status(data.get("status"), "status")
        if kind is EventType.FINISHED and status is None:
            raise NotUnderstood("call_completed has no status")
        if kind is EventType.STARTED:
            status = status or Status.ONGOING
        analysis: dict[str, Any] = {}
        if kind is EventType.ANALYSIS:
            for name in ANALYSIS_FIELDS:
                analysis.update(fields.mapping(data.get(name)))
        return self._build(account, _Body(body, data, event_id, "retry_count"), kind, status, analysis)

    def _callback(self, account: Account, body: Mapping[str, Any], event_id: str) -> CallEvent:
        data = fields.mapped(account, body, body["data"], OWN_NAMES_OF_CALLBACKS)
        status = fields.call_status(data.get("status"), "data.status")
        if status is None:
            raise NotUnderstood("data.status is missing")
        analysis = dict(fields.mapping(data.get("analysis")))
        return self._build(account, _Body(body, data, event_id, "retry"), TYPE_OF_STATUS[status], status, analysis)

    def _build(
        self, account: Account, body: "_Body", kind: EventType, status: Status | None, analysis: Mapping[str, Any]
    ) -> CallEvent:
        get = body.data.get
        duration = fields.decimal_number(get("call_duration"), "call_duration")
        return CallEvent(
            account=account.name,
            provider=self.name,
            call_id=fields.required_identifier(get("call_id"), "call_id"),
            event_id=fields.identifier(get("event_id"), "event_id") or body.event_id,
            type=kind,
            status=status,
            attempt=fields.whole_number(get(body.attempt_field), body.attempt_field),
            campaign_id=fields.identifier(get("bulk_list_id"), "bulk_list_id"),
            agent_id=fields.identifier(get("agent_id"), "agent_id"),
            number=fields.phone_number(get("to_number"), "to_number"),
            from_number=fields.phone_number(get("from_number"), "from_number"),
            at=fields.timestamp(get("called_on"), "called_on"),
            duration_seconds=duration,
            cost=fields.decimal_number(get("call_cost"), "call_cost"),
            connected=bool(duration) or status is Status.COMPLETED,
            analysis=analysis,
            args=fields.mapping(get("custom_args_values")),
            raw=body.whole,
        )


def check_selector(body: bytes, named: Mapping[str, Any]) -> None:
    """Check the serialised body: exactly one selector (or a campaign with numbers), nothing empty, at most 100.

    Raises:
        UnsafeRequest: the bytes say anything else than what was meant; at Ringg a stray selector stops a whole agent.

    """
    said = orjson.loads(body)
    if said != named or frozenset(said) not in SELECTORS:
        raise UnsafeRequest("the body to be sent does not name exactly one selector")
    for value in said.values():
        if not value or (isinstance(value, list) and (len(value) > LARGEST_BATCH or not all(value))):
            raise UnsafeRequest(f"the body to be sent names an empty selector, or more than {LARGEST_BATCH}")


def _agent(row: Mapping[str, Any]) -> str | None:
    agent = row.get("agent")
    return fields.identifier(row.get("agent_id") or (agent.get("id") if isinstance(agent, dict) else None), "agent_id")


class _Body(NamedTuple):
    """One body: the whole of it, the part that tells of the call, and what that part calls the attempt."""

    whole: Mapping[str, Any]
    data: Mapping[str, Any]
    event_id: str
    attempt_field: str
