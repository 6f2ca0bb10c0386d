"""Bland as docs.bland.ai describes it: both stops hang up live calls; there is no stop of several calls by id.

Where the pages are silent: a stop that finds nothing answers 200 with `status: error`, so that a client which reads
the HTTP code alone is caught; a call stopped before it connected is `completed` with `started_at` null; calls are not
retried under the same id; `GET /v1/calls` gives 1,000 at most, newest first. A campaign is a batch too, for the
`status_webhook`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .api import Answer, ApiRequest, Endpoint, is_secret, iso, registered_between
from .calls import OPEN, Call, Campaign, CampaignState, Group, Status
from .conversation import analysis, transcript_text
from .dialler import Moment, Phase
from .exchange import Exchange

_MOST_IN_A_PAGE = 1_000


class Bland:
    base_path: ClassVar[str] = ""
    retries: ClassVar[bool] = False
    object_ids: ClassVar[bool] = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._from_number = f"+9180{exchange.dice.number(8, 'from'):08d}"

    def authorized(self, headers: Mapping[str, str], api_key: str) -> bool:
        return is_secret(headers.get("authorization"), api_key)

    def error(self, status: int, message: str) -> Answer:
        return Answer(status, {"status": "error", "message": message})

    def endpoints(self) -> Sequence[Endpoint]:
        return [
            Endpoint("POST", "/v1/campaigns/{campaign_id}/stop", self._stop_campaign, stops=True),
            Endpoint("POST", "/v1/calls/{call_id}/stop", self._stop_call, stops=True),
            Endpoint("GET", "/v1/campaigns/{campaign_id}", self._campaign),
            Endpoint("GET", "/v1/calls", self._calls),
            Endpoint("GET", "/v1/calls/{call_id}", self._call),
        ]

    # stop

    def _stop_campaign(self, request: ApiRequest, now: float) -> Answer:
        campaign = self._exchange.table.campaigns.get(request.path["campaign_id"])
        if campaign is None:
            return self.error(200, "Campaign not found.")
        if campaign.state is CampaignState.STOPPED:
            self._exchange.judge.stops_campaign_again(campaign)
        stopped = self._exchange.stop_campaign(campaign, now, live=True)
        return Answer(
            200,
            {
                "status": "success",
                "message": "Successfully stopped campaign",
                "num_calls": stopped,
                "campaign_id": campaign.id,
            },
        )

    def _stop_call(self, request: ApiRequest, now: float) -> Answer:
        call_id = request.path["call_id"]
        self._exchange.judge.named([call_id])
        call = self._exchange.table.by_id.get(call_id)
        if self._exchange.poisoned([call_id], now):
            return self.error(400, "Invalid call id")
        if call is None or not self._exchange.terminate([call], now, live=True):
            return self.error(200, "SID not found for the given c_id.")
        return Answer(200, {"status": "success", "message": "Call ended successfully."})

    # reading

    def _campaign(self, request: ApiRequest, _now: float) -> Answer:
        campaign = self._exchange.table.campaigns.get(request.path["campaign_id"])
        if campaign is None:
            return self.error(404, "Campaign not found.")
        rows = [
            {
                "id": call.ordinal + 1,
                "campaign_name": campaign.name,
                "created_at": iso(campaign.created_at),
                "campaign_config": {"stop_when_answer": True},
                "campaign_state": campaign.state,
                "phone_number": call.number,
                "curr_seq": call.attempt,
                "campaign_id": campaign.id,
            }
            for call in campaign.group.calls
        ]
        return Answer(200, {"status": "success", "count": len(rows), "campaigns": rows})

    def _call(self, request: ApiRequest, _now: float) -> Answer:
        call = self._exchange.table.by_id.get(request.path["call_id"])
        return self.error(404, "Call not found.") if call is None else Answer(200, self._details(call))

    def _calls(self, request: ApiRequest, _now: float) -> Answer:
        query = request.query
        calls = self._group(query).calls
        if completed := query.get("completed"):
            calls = [call for call in calls if (call.status not in OPEN) is (completed == "true")]
        if number := query.get("to_number"):
            calls = [call for call in calls if call.number == number]
        calls = registered_between(calls, query.get("start_date"), query.get("end_date"))
        limit = request.number("limit", _MOST_IN_A_PAGE, _MOST_IN_A_PAGE)
        page = calls[:limit] if query.get("ascending") == "true" else calls[::-1][:limit]
        return Answer(
            200, {"count": len(page), "total_count": len(calls), "calls": [self._details(call) for call in page]}
        )

    def _group(self, query: Mapping[str, str]) -> Group:
        campaign_id = query.get("campaign_id") or query.get("batch_id")
        if not campaign_id:
            return self._exchange.table.everything
        campaign = self._exchange.table.campaigns.get(campaign_id)
        return campaign.group if campaign else Group()

    def _details(self, call: Call) -> dict[str, Any]:
        completed = call.status is Status.COMPLETED
        return {
            "call_id": call.id,
            "c_id": call.id,
            "call_length": round(call.talk_seconds / 60, 4) if completed else 0,
            "batch_id": call.campaign.id,
            "campaign_id": call.campaign.id,
            "to": call.number,
            "from": self._from_number,
            "completed": call.status not in OPEN,
            "created_at": iso(call.registered_at),
            "inbound": False,
            "queue_status": _queue_status(call),
            "status": _status(call),
            "max_duration": 30,
            "error_message": "Call stopped." if call.status is Status.CANCELLED else None,
            "variables": {},
            "answered_by": _answered_by(call),
            "record": False,
            "recording_url": None,
            "metadata": {"campaign_id": call.campaign.id},
            "summary": analysis(call)["summary"] if completed else None,
            "analysis": analysis(call) if completed else None,
            "price": call.cost,
            "started_at": iso(call.connected_at),
            "call_ended_by": "USER" if completed else None,
            "concatenated_transcript": transcript_text(call),
        }

    # webhooks

    def call_webhooks(self, moment: Moment, call: Call, _now: float) -> Sequence[dict[str, Any]]:
        is_over = (
            moment is Moment.PROCESSED
            or (moment is Moment.FINISHED and call.status is Status.FAILED)
            or (moment is Moment.CANCELLED and self._exchange.scenario.webhooks.tell_cancelled)
        )
        return [self._details(call)] if is_over else []

    def campaign_webhooks(self, phase: Phase, campaign: Campaign, now: float) -> Sequence[dict[str, Any]]:
        status = {Phase.OPENED: "dispatching", Phase.DIALLING: "in_progress", Phase.ENDED: "completed"}[phase]
        told: dict[str, Any] = {"batch_id": campaign.id, "status": status, "timestamp": iso(now)}
        if phase is Phase.ENDED:
            successful = len(campaign.group.by_status[Status.COMPLETED])
            total = len(campaign.group.calls)
            told |= {"calls_total": total, "calls_successful": successful, "calls_failed": total - successful}
        return [told]


def _queue_status(call: Call) -> str:
    match call.status:
        case Status.REGISTERED | Status.RETRY:
            return "queued"
        case Status.ONGOING:
            return "started" if call.live else "allocated"
        case Status.FAILED:
            return "call_error"
        case _:
            return "complete"


def _status(call: Call) -> str:
    match call.status:
        case Status.ONGOING:
            return "in-progress" if call.live else "ringing"
        case Status.REGISTERED | Status.RETRY:
            return "queued"
        case _:
            return call.status


def _answered_by(call: Call) -> str | None:
    if call.connected_at is not None:
        return "human"
    return "no-answer" if call.status is Status.FAILED else None
