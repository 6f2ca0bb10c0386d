"""Vapi as its OpenAPI and docs.vapi.ai describe it: `status-update` webhooks, scheduled calls that can be deleted.

Where the pages are silent: `DELETE /call/{id}` of a call that is ringing or connected answers 400 and does nothing; a
deleted call is gone (404) but a `status-update` with `scheduled-call-deleted` tells of it. Calls are not retried.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .api import Answer, ApiRequest, Endpoint, is_secret, iso
from .calls import Call, Campaign, CampaignState, Status
from .conversation import analysis, transcript_text
from .dialler import Moment, Phase
from .exchange import Exchange

_MOST_IN_A_PAGE = 1_000
_ERRORS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}


class Vapi:
    base_path: ClassVar[str] = ""
    retries: ClassVar[bool] = False
    object_ids: ClassVar[bool] = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._org_id = exchange.dice.uuid("org")
        self._phone_number_id = exchange.dice.uuid("phone")

    def authorized(self, headers: Mapping[str, str], api_key: str) -> bool:
        return is_secret(headers.get("Authorization"), f"Bearer {api_key}")

    def error(self, status: int, message: str) -> Answer:
        error = _ERRORS.get(status, "Internal Server Error")
        return Answer(status, {"message": message, "error": error, "statusCode": status})

    def endpoints(self) -> Sequence[Endpoint]:
        return [
            Endpoint("DELETE", "/call/{call_id}", self._delete_call, stops=True),
            Endpoint("PATCH", "/v2/campaign/{campaign_id}", self._update_campaign, stops=True),
            Endpoint("GET", "/call/{call_id}", self._get_call),
            Endpoint("GET", "/call", self._list_calls),
            Endpoint("GET", "/v2/campaign/{campaign_id}", self._get_campaign),
        ]

    # stop

    def _delete_call(self, request: ApiRequest, now: float) -> Answer:
        call_id = request.path["call_id"]
        self._exchange.judge.named([call_id])
        call = self._exchange.table.by_id.get(call_id)
        if self._exchange.poisoned([call_id], now):
            return self.error(400, "Invalid call id")
        if call is None or call.status is Status.CANCELLED:
            return self.error(404, "Call not found")
        if not self._exchange.terminate([call], now):
            return self.error(400, f"Call is {_status(call)} and cannot be deleted")
        return Answer(200, self._call(call))

    def _update_campaign(self, request: ApiRequest, now: float) -> Answer:
        campaign = self._exchange.table.campaigns.get(request.path["campaign_id"])
        if campaign is None:
            return self.error(404, "Campaign not found")
        body = request.json_object()
        # `ended` is the alias of the first version
        if body is None or body.get("status") not in {"cancelled", "ended"}:
            self._exchange.judge.counts["requests_with_wrong_selectors"] += 1
            return self.error(400, "status must be one of: cancelled, ended")
        if campaign.state is CampaignState.STOPPED:
            self._exchange.judge.stops_campaign_again(campaign)
        self._exchange.stop_campaign(campaign, now)
        return Answer(200, _campaign(campaign))

    # reading

    def _get_call(self, request: ApiRequest, _now: float) -> Answer:
        call = self._exchange.table.by_id.get(request.path["call_id"])
        if call is None or call.status is Status.CANCELLED:
            return self.error(404, "Call not found")
        return Answer(200, self._call(call))

    def _list_calls(self, request: ApiRequest, _now: float) -> Answer:
        query = request.query
        calls = [call for call in self._exchange.table.everything.calls if call.status is not Status.CANCELLED]
        if assistant_id := query.get("assistantId"):
            calls = [call for call in calls if call.campaign.agent_id == assistant_id]
        if after := query.get("createdAtGt"):
            calls = [call for call in calls if (iso(call.registered_at, zulu=True) or "") > after]
        if before := query.get("createdAtLt"):
            calls = [call for call in calls if (iso(call.registered_at, zulu=True) or "") < before]
        limit = request.number("limit", 100, _MOST_IN_A_PAGE)
        return Answer(200, [self._call(call) for call in calls[::-1][:limit]])

    def _get_campaign(self, request: ApiRequest, _now: float) -> Answer:
        campaign = self._exchange.table.campaigns.get(request.path["campaign_id"])
        return self.error(404, "Campaign not found") if campaign is None else Answer(200, _campaign(campaign))

    def _call(self, call: Call) -> dict[str, Any]:
        ended = {"endedAt": iso(call.ended_at, zulu=True), "endedReason": _ended_reason(call)}
        return {
            "id": call.id,
            "orgId": self._org_id,
            "type": "outboundPhoneCall",
            "status": _status(call),
            "createdAt": iso(call.registered_at, zulu=True),
            "updatedAt": iso(call.ended_at or call.started_at or call.registered_at, zulu=True),
            "startedAt": iso(call.connected_at, zulu=True),
            "assistantId": call.campaign.agent_id,
            "campaignId": call.campaign.id,
            "phoneNumberId": self._phone_number_id,
            "customer": {"number": call.number},
            "cost": call.cost,
            **(ended if _status(call) == "ended" else {}),
        }

    # webhooks

    def call_webhooks(self, moment: Moment, call: Call, now: float) -> Sequence[dict[str, Any]]:
        if moment is Moment.PROCESSED:
            return [self._end_of_call_report(call, now)]
        if moment in {Moment.RECORDED, Moment.ANALYSED}:
            return []
        if moment is Moment.CANCELLED and not self._exchange.scenario.webhooks.tell_cancelled:
            return []
        return [self._message("status-update", call, now)]

    def campaign_webhooks(self, _phase: Phase, _campaign: Campaign, _now: float) -> Sequence[dict[str, Any]]:
        return []

    def _message(self, kind: str, call: Call, now: float) -> dict[str, Any]:
        message = {"type": kind, "timestamp": int(now * 1000), "call": self._call(call), "status": _status(call)}
        if message["status"] == "ended":
            message["endedReason"] = _ended_reason(call)
        return {"message": message}

    def _end_of_call_report(self, call: Call, now: float) -> dict[str, Any]:
        told = self._message("end-of-call-report", call, now)
        told["message"] |= {
            "durationSeconds": round(call.talk_seconds, 3),
            "cost": call.cost,
            "transcript": transcript_text(call),
            "analysis": {
                "summary": analysis(call)["summary"],
                "successEvaluation": "false" if call.opted_out else "true",
                "structuredData": analysis(call),
            },
        }
        return told


def _campaign(campaign: Campaign) -> dict[str, Any]:
    states = {CampaignState.ACTIVE: "in-progress", CampaignState.STOPPED: "cancelled", CampaignState.COMPLETED: "ended"}
    return {
        "id": campaign.id,
        "name": campaign.name,
        "status": states[campaign.state],
        "assistantId": campaign.agent_id,
        "createdAt": iso(campaign.created_at, zulu=True),
        "callsCounterScheduled": len(campaign.group.by_status[Status.REGISTERED]),
        "callsCounterInProgress": len(campaign.group.by_status[Status.ONGOING]),
        "callsCounterEnded": sum(len(campaign.group.by_status[s]) for s in (Status.COMPLETED, Status.FAILED)),
    }


def _status(call: Call) -> str:
    match call.status:
        case Status.REGISTERED | Status.RETRY:
            return "scheduled"
        case Status.ONGOING:
            return "in-progress" if call.live else "ringing"
        case _:
            return "ended"


def _ended_reason(call: Call) -> str:
    match call.status:
        case Status.COMPLETED:
            return "customer-ended-call"
        case Status.CANCELLED:
            return "scheduled-call-deleted"
        case _:
            return "customer-did-not-answer"
