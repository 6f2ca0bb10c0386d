"""Sonarly: app.sonarly.io/docs/api, campaigns-stop and campaigns-list.

LinkedIn outreach: there are no calls, no numbers and no webhooks, so a campaign can only be stopped as a whole, by an
operator. "Idempotency: not supported; check the current resource state before retrying this request." There is no page
for reading one campaign; the list is documented without parameters and holds them all.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from consumer.model.accounts import Account
from consumer.model.provider import (
    Answer,
    BatchOfCallIds,
    Capabilities,
    HttpRequest,
    HttpResponse,
    NotUnderstood,
    ScopeState,
    Selector,
    UnsafeRequest,
    WholeScope,
)
from consumer.model.scopes import ScopeKind
from consumer.model.terminations import AnswerClass
from handlers.providers import answers, fields
from handlers.providers.base import BaseProvider
from handlers.providers.rest import campaign_of, count, json_object, path_part

MEANINGS = {
    400: (AnswerClass.POISON, "the request is not valid; nothing was stopped"),
    401: (AnswerClass.CREDENTIALS, "the API key is missing, invalid or revoked; set api_key"),
    403: (AnswerClass.PERMISSION, "the key lacks campaigns:execute, or access to this account group"),
    404: (AnswerClass.NOT_FOUND, "there is no such campaign in this account group"),
    409: (AnswerClass.CONFLICT, "the campaign is in a state that cannot be stopped; its state says whether it stands"),
    429: (AnswerClass.THROTTLED, "the rate limit is exceeded; nothing was stopped"),
    500: (AnswerClass.UNKNOWN, "Sonarly failed on the way; the campaign may be stopped or not"),
    502: (AnswerClass.UNKNOWN, "what Sonarly asks failed; the campaign may be stopped in part"),
}
"""The errors of the page, each with what it means here."""

STOPPED = {
    "active": False,
    "running": False,
    "in_progress": False,
    "stopped": True,
    "completed": True,
    "archived": True,
    "cancelled": True,
    "paused": True,
    "draft": True,
}
"""Whether a campaign of this status reaches nobody: the pages show ``draft`` only, which was never started.

The others are the words that can be meant one way only. Any other status cannot be told, and nothing is sent on it.
"""

KEPT = ("id", "status", "rateLimitedUntil", "code", "details")
MAX_TRACE_ID = 200


class Sonarly(BaseProvider):
    """Campaigns of one account group (``account_group_id``), stopped one at a time."""

    name = "sonarly"
    default_base_url = "https://api.sonarly.io"
    capabilities = Capabilities(
        by_id=False,
        batch_limit=0,
        everything=frozenset({ScopeKind.CAMPAIGN}),
        everything_spares_live=True,
        idempotent=False,
        history=False,
        scope_state=True,
        webhooks=False,
    )

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> NoReturn:  # noqa: ARG002
        raise NotUnderstood("sonarly documents no webhooks, so nothing that claims to be one is believed")

    def terminate(self, account: Account, selector: Selector) -> HttpRequest:
        if isinstance(selector, BatchOfCallIds):
            raise UnsafeRequest("sonarly has no calls that could be stopped by id")
        campaign = path_part(campaign_of(selector), "a campaign")
        return self._request(account, "POST", f"/{campaign}/stop")

    def understand(self, response: HttpResponse) -> Answer:
        return _understood(response)[0]

    def scope_state(self, account: Account, whole: WholeScope) -> HttpRequest:
        path_part(campaign_of(whole), "a campaign")
        return self._request(account, "GET", "")

    def read_scope_state(self, account: Account, whole: WholeScope, response: HttpResponse) -> ScopeState:  # noqa: ARG002
        answer, data = _understood(response)
        if answer.answer is not AnswerClass.ACCEPTED:
            return ScopeState(answer)
        state, stopped = _standing(campaign_of(whole), data)
        return ScopeState(replace(state, trace_id=answer.trace_id), stopped)

    def _request(self, account: Account, method: str, below: str) -> HttpRequest:
        group = path_part(account.account_group_id, "an account group")
        return HttpRequest(
            method=method,
            url=self.url(account, f"/v1/accounts/{group}/campaigns{below}"),
            headers={
                "Authorization": f"Bearer {account.api_key.get_secret_value()}",
                "Accept": "application/json",
            },
        )


def _standing(campaign_id: str | None, data: Mapping[str, Any]) -> tuple[Answer, bool | None]:
    """Find one campaign in the list; gives what was found, and whether it is stopped (None: cannot be told)."""
    items = data.get("items")
    if not isinstance(items, list):
        return Answer(AnswerClass.UNKNOWN, "the list of campaigns has no items"), None
    campaign = next((item for item in items if isinstance(item, dict) and item.get("id") == campaign_id), None)
    if campaign is not None:
        status = str(campaign.get("status"))[:40]
        found = Answer(AnswerClass.ACCEPTED, f"the campaign is {status}", more=_more(campaign))
        return found, STOPPED.get(status.lower().replace("-", "_"))
    if data.get("hasMore") is True:
        detail = "the campaign is not on the first page of the list, and no way to the next one is documented"
        return Answer(AnswerClass.ACCEPTED, detail), None
    return Answer(AnswerClass.NOT_FOUND, "the campaign is not in the list of this account group"), None


class _Envelope(NamedTuple):
    """``{success, data, error, traceId}`` around every answer; ``said`` is its error in a few words."""

    success: bool
    data: Mapping[str, Any]
    error: Mapping[str, Any]
    trace_id: str | None
    said: str


def _envelope(response: HttpResponse) -> _Envelope:
    try:
        body = json_object(response)
    except NotUnderstood as unreadable:
        return _Envelope(success=False, data={}, error={}, trace_id=None, said=str(unreadable))
    error, trace_id = fields.mapping(body.get("error")), body.get("traceId")
    return _Envelope(
        success=body.get("success") is True,
        data=fields.mapping(body.get("data")),
        error=error,
        trace_id=trace_id[:MAX_TRACE_ID] if isinstance(trace_id, str) else None,
        said=answers.beginning(f"{error.get('code') or 'no code'}: {error.get('message') or 'no message'}"),
    )


def _understood(response: HttpResponse) -> tuple[Answer, Mapping[str, Any]]:
    """Give what the answer means, and the data of a success."""
    envelope = _envelope(response)
    campaign = fields.mapping(envelope.data.get("campaign"))
    if not 200 <= response.status < 300:
        return _refusal(response, envelope, campaign), {}
    if not envelope.success:
        detail = f"HTTP {response.status}, but the body does not say success: {envelope.said}"
        return Answer(AnswerClass.UNKNOWN, detail, trace_id=envelope.trace_id, more=_more(envelope.error)), {}
    detail = f"the campaign is {campaign['status'][:40]}" if isinstance(campaign.get("status"), str) else ""
    reported = count(envelope.data.get("instancesStopped"))
    accepted = Answer(AnswerClass.ACCEPTED, detail, None, reported, envelope.trace_id, _more(campaign))
    return accepted, envelope.data


def _refusal(response: HttpResponse, envelope: _Envelope, campaign: Mapping[str, Any]) -> Answer:
    """Class an error by the page's list; one that is not on it by its status alone."""
    general = answers.by_status(response, envelope.said)
    answer, meaning = MEANINGS.get(response.status, (general.answer, ""))
    detail = f"{meaning} ({envelope.said})" if meaning else general.detail
    more = _more(campaign) | _more(fields.mapping(envelope.error.get("details"))) | _more(envelope.error)
    wait = general.retry_after_seconds
    if wait is None and response.status == 429:
        wait = _seconds_until(more.get("rateLimitedUntil"), response.received_at)
    return Answer(answer, detail, wait, trace_id=envelope.trace_id, more=more)


def _more(part: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what the record should tell: which campaign, how it stands, until when it is held back, and error codes."""
    return {name: part[name] for name in KEPT if isinstance(part.get(name), str)}


def _seconds_until(moment: Any, now: float) -> float | None:
    try:
        seconds = fields.timestamp(moment, "rateLimitedUntil")
    except NotUnderstood:
        return None
    return None if seconds is None else min(max(seconds - now, 0.0), answers.LONGEST_RETRY_AFTER_SECONDS)
