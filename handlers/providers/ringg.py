"""Ringg: docs.ringg.ai, webhooks/payloads (older and newer) and campaign/terminate.

Ringg sends an event's name under ``event_type``; ``call_completed`` comes once per *attempt*, with ``retry_count``. The
per-call ``callback_url`` sends another envelope, the only documented channel that tells of ``registered``.

Terminate touches only ``registered`` and ``retry``. Its answer never says which ids it took: "Invalid IDs will be
ignored". One endpoint takes four selectors, and a stray one stops a whole agent; hence the check on the bytes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from consumer.model.accounts import Account
from consumer.model.events import CallEvent
from consumer.model.provider import (
    Answer,
    BatchOfCallIds,
    Capabilities,
    HttpRequest,
    HttpResponse,
    NotUnderstood,
    UnsafeRequest,
)
from consumer.model.status import EventType, Status
from consumer.model.terminations import AnswerClass
from handlers.providers import answers, fields

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
ANALYSIS_FIELDS = ("analysis", "platform_analysis", "client_analysis", "analysis_data")


class Ringg:
    """The Ringg API; its white labels differ in host and paths only."""

    name = "ringg"
    default_base_url = "https://prod-api.ringg.ai/ca/api/v0"
    terminate_calls_path = "/campaign/terminate"
    capabilities = Capabilities(
        by_id=True,
        batch_limit=100,
        everything=frozenset(),
        spares_live_calls=True,
        idempotent=True,
        history=True,
    )

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        if "event_type" in body:
            return (self._event(account, body, event_id),)
        if isinstance(body.get("data"), dict) and "call_id" in body["data"]:
            return (self._callback(account, body, event_id),)
        raise NotUnderstood("the body has neither event_type nor data.call_id")

    def terminate(self, account: Account, batch: BatchOfCallIds) -> HttpRequest:
        body = orjson.dumps({"call_ids": batch.call_ids})
        if orjson.loads(body) != {"call_ids": list(batch.call_ids)} or not batch.call_ids:
            raise UnsafeRequest("the body to be sent does not name exactly the calls of the batch")
        return HttpRequest(
            method="PATCH",
            url=f"{account.base_url or self.default_base_url}{self.terminate_calls_path}",
            headers={"X-API-KEY": account.api_key.get_secret_value(), "Content-Type": "application/json"},
            body=body,
        )

    def understand(self, response: HttpResponse) -> Answer:
        message = answers.message_in(response.body)
        if response.status == 400 and "no terminable calls" in message.lower():
            return Answer(AnswerClass.NONE_TERMINABLE, message)
        return answers.by_status(response, message)

    def _event(self, account: Account, body: Mapping[str, Any], event_id: str) -> CallEvent:
        kind = EVENT_TYPES.get(str(body["event_type"]))
        if kind is None:
            raise NotUnderstood(f"event_type is {str(body['event_type'])[:60]!r}, which is not documented")
        data = fields.mapped(account, body, body, {**OWN_NAMES, "attempt": "retry_count"})
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
        data = fields.mapped(account, body, body["data"], {**OWN_NAMES, "attempt": "retry"})
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
            event_id=get("event_id") or body.event_id,
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


class _Body(NamedTuple):
    """One body: the whole of it, the part that tells of the call, and what that part calls the attempt."""

    whole: Mapping[str, Any]
    data: Mapping[str, Any]
    event_id: str
    attempt_field: str
