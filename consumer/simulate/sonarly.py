"""Sonarly as app.sonarly.io/docs/api describes it: campaigns only, no webhooks, a stop that is not idempotent.

An instance of a campaign is played by a call that nobody hears about. Where the pages are silent: a campaign's status
is `active`, `stopped` or `completed`; stopping one that is not active answers 409; `rateLimitedUntil` is set while
the fault `throttled` is in force.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

from .api import Answer, ApiRequest, Endpoint, is_secret, iso
from .calls import Call, Campaign, CampaignState
from .dialler import Moment, Phase
from .exchange import Exchange
from .faults import FaultKind

_MOST_IN_A_PAGE = 100
_CODES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    429: "RATE_LIMITED",
    502: "UPSTREAM_ERROR",
}


class Sonarly:
    base_path: ClassVar[str] = ""
    retries: ClassVar[bool] = True
    object_ids: ClassVar[bool] = True

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._account_group_id = exchange.scenario.account_group_id
        self._traces = count()

    def authorized(self, headers: Mapping[str, str], api_key: str) -> bool:
        return is_secret(headers.get("Authorization"), f"Bearer {api_key}")

    def error(self, status: int, message: str) -> Answer:
        error = {"code": _CODES.get(status, "INTERNAL_ERROR"), "message": message, "details": None}
        return Answer(status, self._envelope(None, error))

    def endpoints(self) -> Sequence[Endpoint]:
        campaigns = "/v1/accounts/{account_group_id}/campaigns"
        return [
            Endpoint("GET", "/v1/accounts", self._accounts),
            Endpoint("GET", campaigns, self._in_group(self._campaigns)),
            Endpoint("POST", campaigns + "/{campaign_id}/stop", self._in_group(self._stop), stops=True),
        ]

    def call_webhooks(self, _moment: Moment, _call: Call, _now: float) -> Sequence[dict[str, Any]]:
        return []

    def campaign_webhooks(self, _phase: Phase, _campaign: Campaign, _now: float) -> Sequence[dict[str, Any]]:
        return []

    def _accounts(self, _request: ApiRequest, _now: float) -> Answer:
        items = [{"id": self._account_group_id, "name": "Acme Corp"}]
        return self._success({"items": items, "nextCursor": None, "hasMore": False})

    def _in_group(self, answer: Callable[[ApiRequest, float], Answer]) -> Callable[[ApiRequest, float], Answer]:
        def answer_in_group(request: ApiRequest, now: float) -> Answer:
            if request.path["account_group_id"] != self._account_group_id:
                return self.error(404, "Account group not found")
            return answer(request, now)

        return answer_in_group

    def _campaigns(self, request: ApiRequest, now: float) -> Answer:
        limit, offset = request.number("limit", _MOST_IN_A_PAGE, _MOST_IN_A_PAGE), request.number("cursor", 0, 10**9)
        campaigns = list(self._exchange.table.campaigns.values())
        page = campaigns[offset : offset + limit]
        has_more = offset + limit < len(campaigns)
        items = [self._campaign_row(campaign, now) for campaign in page]
        return self._success(
            {"items": items, "nextCursor": str(offset + limit) if has_more else None, "hasMore": has_more}
        )

    def _stop(self, request: ApiRequest, now: float) -> Answer:
        campaign = self._exchange.table.campaigns.get(request.path["campaign_id"])
        if campaign is None:
            return self.error(404, "Campaign not found")
        if campaign.state is not CampaignState.ACTIVE:
            self._exchange.judge.stops_campaign_again(campaign)
            return self.error(409, f"Campaign is {campaign.state} and cannot be stopped")
        stopped = self._exchange.stop_campaign(campaign, now)
        return self._success({"campaign": self._campaign_row(campaign, now), "instancesStopped": stopped})

    def _campaign_row(self, campaign: Campaign, now: float) -> dict[str, Any]:
        throttled = next((one for one in self._exchange.faults.in_force(now) if one.kind is FaultKind.THROTTLED), None)
        return {
            "id": campaign.id,
            "name": campaign.name,
            "description": "",
            "status": campaign.state,
            "selectedLeadCount": campaign.size,
            "includeConversationHistory": True,
            "autoCancelOnMessageReceived": True,
            "outreachLanguage": "en",
            "createdAt": iso(campaign.created_at, zulu=True),
            "updatedAt": iso(now, zulu=True),
            "startedAt": iso(campaign.created_at, zulu=True),
            "rateLimitedUntil": iso(now + throttled.delay_seconds, zulu=True) if throttled else None,
        }

    def _success(self, data: dict[str, Any]) -> Answer:
        return Answer(200, self._envelope(data, None))

    def _envelope(self, data: dict[str, Any] | None, error: dict[str, Any] | None) -> dict[str, Any]:
        trace_id = self._exchange.dice.object_id("trace", next(self._traces))
        return {"success": error is None, "data": data, "error": error, "traceId": trace_id}
