"""Ringg and Revenueable, one API under two names, as their pages describe it.

Terminate: docs.ringg.ai api-reference/terminate (one path, four selectors, the older split paths) and
docs.revenueable.ai (split paths only). Webhooks: docs.ringg.ai get-started/webhooks/payloads, both forms, and the
`callback_url` envelope of get-started/tutorials/webhooks. History: calling/history and calling/call-details.

Where the pages are silent: several selectors in one request (only campaign with numbers is documented) act as the
widest of them, agent > campaign > numbers > ids; `limit` of the history is 1,000 at most, newest first; the bodies
of errors are `{"message": …}`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from .api import Answer, ApiRequest, Endpoint, is_secret, iso, registered_between
from .calls import TERMINABLE, Call, Campaign, Status
from .conversation import analysis, name_of, transcript_text, turns
from .dialler import Moment, Phase
from .exchange import Exchange

_SELECTORS = ("agent_id", "campaign_id", "mobile_numbers", "call_ids")
_MOST_IN_A_REQUEST = 100
_MOST_IN_A_PAGE = 1_000
_NONE_TERMINABLE = "No terminable calls found for the specified parameters"

Selectors = dict[str, Any]


class Ringg:
    base_path: ClassVar[str] = "/ca/api/v0"
    retries: ClassVar[bool] = True
    object_ids: ClassVar[bool] = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._webhooks = exchange.scenario.webhooks
        self._from_number = f"+9180{exchange.dice.number(8, 'from'):08d}"
        self._workspace_id = exchange.dice.uuid("workspace")
        self._version_id = exchange.dice.uuid("version")

    def authorized(self, headers: Mapping[str, str], api_key: str) -> bool:
        return is_secret(headers.get("X-API-KEY"), api_key)

    def error(self, status: int, message: str) -> Answer:
        return Answer(status, {"message": message})

    def endpoints(self) -> Sequence[Endpoint]:
        return [
            Endpoint("PATCH", "/campaign/terminate", self._terminate(*_SELECTORS), stops=True),
            Endpoint(
                "PATCH",
                "/campaign/terminate/campaign-numbers",
                self._terminate("campaign_id", "mobile_numbers"),
                stops=True,
            ),
            *self.split_endpoints(),
        ]

    def split_endpoints(self) -> Sequence[Endpoint]:
        """Give what Ringg's older pages and Revenueable's have in common."""
        return [
            Endpoint("PATCH", "/campaign/terminate/calls", self._terminate("call_ids"), stops=True),
            Endpoint("PATCH", "/campaign/terminate/campaign", self._terminate("campaign_id"), stops=True),
            Endpoint("GET", "/calling/call-details", self._call_details),
            Endpoint("GET", "/calling/history", self._history),
            Endpoint("GET", "/workspace", lambda _request, _now: Answer(200, {"workspace_id": self._workspace_id})),
        ]

    # terminate

    def _terminate(self, *selectors: str) -> Callable[[ApiRequest, float], Answer]:
        def answer(request: ApiRequest, now: float) -> Answer:
            return self._terminate_by(selectors, request.json_object(), now)

        return answer

    def _terminate_by(self, allowed: Sequence[str], body: dict[str, Any] | None, now: float) -> Answer:
        judge = self._exchange.judge
        given = {name: body[name] for name in _SELECTORS if body and body.get(name) is not None}
        if not _is_one_selector(given, allowed):
            judge.counts["requests_with_wrong_selectors"] += 1
        given = {name: value for name, value in given.items() if name in allowed and _is_usable(name, value)}
        if not given:
            return self.error(400, "Invalid request: no usable selector")
        if any(isinstance(value, list) and len(value) > _MOST_IN_A_REQUEST for value in given.values()):
            judge.counts["requests_over_100"] += 1
            return self.error(400, f"A maximum of {_MOST_IN_A_REQUEST} items is allowed per request")
        call_ids = given.get("call_ids", [])
        judge.named(call_ids)
        if self._exchange.poisoned(call_ids, now):
            return self.error(400, "Invalid call id")
        if not self._exchange.terminate(self._meant(given), now):
            return self.error(400, _NONE_TERMINABLE)
        return Answer(200, {"message": "Calls terminated successfully!"})

    def _meant(self, given: Selectors) -> list[Call]:
        table = self._exchange.table
        if agent_id := given.get("agent_id"):
            return table.of_agent(agent_id, TERMINABLE)
        campaign_id, numbers = given.get("campaign_id"), given.get("mobile_numbers")
        # the documented pair, and nothing else, narrows a campaign
        if campaign_id and numbers and "call_ids" not in given:
            return [call for call in table.of_numbers(numbers) if call.campaign.id == campaign_id]
        if campaign_id:
            return table.of_campaign(campaign_id, TERMINABLE)
        if numbers:
            return table.of_numbers(numbers)
        ids = dict.fromkeys(given["call_ids"])
        return [call for call_id in ids if (call := table.by_id.get(call_id))]

    # reading

    def _call_details(self, request: ApiRequest, _now: float) -> Answer:
        call_id = request.query.get("id")
        if not call_id:
            return self.error(400, "id is required")
        call = self._exchange.table.by_id.get(call_id)
        if call is None:
            return self.error(404, "Call not found")
        data: dict[str, Any] = {
            "id": call.id,
            "call_direction": "outbound",
            "call_status": call.status,
            "call_sub_status": "ACCEPTED" if call.sid else None,
            "from_number": self._from_number,
            "to_number": call.number,
            "callee_name": name_of(call),
            "agent_id": call.campaign.agent_id,
            "bulk_list_id": call.campaign.id,
            "initiation_time": iso(call.started_at, zulu=True),
            "next_attempt_time": iso(call.next_attempt_at, zulu=True),
            "retry_count": call.attempt,
            "recording_url": _recording_url(call),
            "transcription_url": _transcript(call),
        }
        if request.query.get("send_analysis") == "true":
            data["analysis"] = analysis(call)
        return Answer(200, {"status": "success", "data": data})

    def _history(self, request: ApiRequest, _now: float) -> Answer:
        query = request.query
        limit, offset = request.number("limit", 10, _MOST_IN_A_PAGE), request.number("offset", 0, 10**9)
        calls = registered_between(self._calls_in_history(query), query.get("start_date"), query.get("end_date"))
        page = calls[max(0, len(calls) - offset - limit) : max(0, len(calls) - offset)]
        return Answer(
            200,
            {
                "calls": [self._history_row(call) for call in reversed(page)],
                "limit": limit,
                "offset": offset,
                "count": len(page),
                "total": len(calls),
            },
        )

    def _calls_in_history(self, query: Mapping[str, str]) -> list[Call]:
        table = self._exchange.table
        campaign_id, agent_id, status = query.get("bulk_list_id"), query.get("agent_id"), query.get("status")
        if campaign_id:
            campaign = table.campaigns.get(campaign_id)
            if campaign is None or (agent_id and campaign.agent_id != agent_id):
                return []
            group = campaign.group
        elif agent_id:
            if agent_id not in table.agents:
                return []
            group = table.agents[agent_id]
        else:
            group = table.everything
        if not status:
            return group.calls
        return list(group.by_status[Status(status)].values()) if status in set(Status) else []

    def _history_row(self, call: Call) -> dict[str, Any]:
        return {
            "id": call.id,
            "to_number": call.number,
            "name": name_of(call),
            "status": call.status,
            "created_at": iso(call.registered_at),
            "agent": {"id": call.campaign.agent_id, "name": call.campaign.name},
            "call_duration": round(call.talk_seconds, 6),
            "call_attempt_time": iso(call.started_at),
            "call_cost": call.cost,
            "call_type": "outbound",
            "inbound_from": None,
            "from_numbers": [self._from_number],
            "voicemail_detected": False,
        }

    # webhooks

    def campaign_webhooks(self, _phase: Phase, _campaign: Campaign, _now: float) -> Sequence[dict[str, Any]]:
        return []

    def call_webhooks(self, moment: Moment, call: Call, _now: float) -> Sequence[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        if self._is_enveloped(moment):
            told.append(self._envelope(call))
        newer = self._webhooks.form == "newer"
        if moment is Moment.STARTED and newer:
            told.append(self._call_started(call))
        elif moment is Moment.FINISHED:
            told.append(self._call_completed(call) if newer else self._older_call_completed(call))
        elif moment is Moment.RECORDED:
            told.append(_recording_completed(call))
        elif moment is Moment.ANALYSED:
            told.append(self._analysis_completed(call))
        elif moment is Moment.PROCESSED and newer:
            told.append(self._all_processing_completed(call))
        return told

    def _is_enveloped(self, moment: Moment) -> bool:
        if moment is Moment.CANCELLED:
            return self._webhooks.tell_cancelled
        if moment is Moment.QUEUED:
            return self._webhooks.envelopes != "off"
        return self._webhooks.envelopes == "all" and moment in {Moment.STARTED, Moment.FINISHED}

    def _envelope(self, call: Call) -> dict[str, Any]:
        ended = call.status in {Status.COMPLETED, Status.FAILED}
        return {
            "status": "success",
            "message": "Call Details",
            "data": {
                "call_id": call.id,
                "call_direction": "outbound",
                "status": call.status,
                "call_duration": round(call.talk_seconds, 6) if ended else 0,
                "recording_url": _recording_url(call),
                "transcript": transcript_text(call),
                "agent_id": call.campaign.agent_id,
                "retry": call.attempt,
                "from_number": self._from_number,
                "to_number": call.number,
                "custom_args_values": self._custom_args(call),
            },
        }

    def _call_started(self, call: Call) -> dict[str, Any]:
        return {
            "event_type": "call_started",
            "call_id": call.id,
            "call_sid": call.sid,
            "agent_id": call.campaign.agent_id,
            "workspace_id": self._workspace_id,
            "custom_args_values": self._custom_args(call),
            "sub_status": "ACCEPTED",
            "agent_name": call.campaign.name,
            "version_id": self._version_id,
            "version_slug": "v1",
            "version_description": "Initial version",
            "tool_call_logs": [],
        }

    def _older_call_completed(self, call: Call) -> dict[str, Any]:
        return {
            "event_type": "call_completed",
            "call_id": call.id,
            "call_duration": round(call.talk_seconds, 6),
            "call_type": "outbound",
            "status": call.status,
            "to_number": call.number,
            "from_number": self._from_number,
            "agent_id": call.campaign.agent_id,
            "workspace_id": self._workspace_id,
            "custom_args_values": self._custom_args(call),
            "transcript": _transcript(call),
            "retry_count": call.attempt,
        }

    def _call_completed(self, call: Call) -> dict[str, Any]:
        return {
            **self._older_call_completed(call),
            "agent_message_count": sum(turn.is_agent for turn in turns(call)),
            "user_message_count": sum(not turn.is_agent for turn in turns(call)),
            "bulk_list_id": call.campaign.id,
            "call_sid": call.sid,
            "called_on": iso(call.started_at, zulu=True),
            "agent_name": call.campaign.name,
            "version_id": self._version_id,
            "call_cost": call.cost,
            "overall_latency_seconds": 0.892345,
            "first_utterance_seconds": 0.456789,
            "recording_url": None,
        }

    def _analysis_completed(self, call: Call) -> dict[str, Any]:
        return {
            "event_type": "platform_analysis_completed",
            "call_id": call.id,
            "agent_id": call.campaign.agent_id,
            "workspace_id": self._workspace_id,
            "custom_args_values": self._custom_args(call),
            "analysis": analysis(call),
        }

    def _all_processing_completed(self, call: Call) -> dict[str, Any]:
        return {
            **self._call_completed(call),
            "event_type": "all_processing_completed",
            "recording_url": _recording_url(call),
            "recording_duration": round(call.talk_seconds, 1),
            "analysis": analysis(call),
        }

    def _custom_args(self, call: Call) -> dict[str, str]:
        args = {"callee_name": name_of(call), "order_value": "70000", "company_name": "Acme Corp"}
        return {**args, "campaign_id": call.campaign.id} if self._webhooks.campaign_in_args else args


class Revenueable(Ringg):
    """The same API under another name; its pages know the split paths only."""

    def endpoints(self) -> Sequence[Endpoint]:
        return self.split_endpoints()


def _is_one_selector(given: Selectors, allowed: Sequence[str]) -> bool:
    names = set(given)
    documented = len(names) == 1 or names == {"campaign_id", "mobile_numbers"}
    return documented and names <= set(allowed) and all(_is_usable(name, value) for name, value in given.items())


def _is_usable(name: str, value: Any) -> bool:
    if name in {"agent_id", "campaign_id"}:
        return isinstance(value, str) and bool(value)
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)


def _recording_completed(call: Call) -> dict[str, Any]:
    return {
        "event_type": "recording_completed",
        "call_id": call.id,
        "recording_url": _recording_url(call),
        "recording_duration": round(call.talk_seconds, 1),
    }


def _recording_url(call: Call) -> str | None:
    # a reserved name: nobody can be sent there by mistake
    return f"https://recordings.example/{call.sid}.mp3" if call.status is Status.COMPLETED else None


def _transcript(call: Call) -> list[dict[str, str]]:
    return [{"bot" if turn.is_agent else "user": turn.text} for turn in turns(call)]
