from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from consumer.model.provider import BatchOfCallIds, NotUnderstood, UnsafeRequest, WholeScope
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.terminations import AnswerClass
from consumer.simulate import Dial, Outcomes
from handlers.providers.sonarly import MEANINGS, STOPPED, Sonarly
from tests.unit.provider_exchange import ANY_ID, account_at, answer, path_sent, send
from tests.unit.simulated_provider_stage import STANDING, Stage, playing
from tests.unit.values import account

SONARLY = Sonarly()
GROUP = "507f1f77bcf86cd799439011"
CAMPAIGN = "507f1f77bcf86cd799439012"
ACCOUNT = account(provider="sonarly", account_group_id=GROUP)
TRACE = "507f1f77bcf86cd799439013"
WAITING = replace(STANDING, dial=Dial(per_second=0.001, lines=1, ring_seconds=600), outcomes=Outcomes(not_answered=0))


def whole(campaign_id: str = CAMPAIGN) -> WholeScope:
    (only,) = WholeScope.requests_for(Scope.campaign(campaign_id), SONARLY.capabilities)
    return only


def refused(code: str, details: Any = "string") -> dict[str, Any]:
    error = {"code": code, "message": "Thanks for the context.", "details": details}
    return {"success": False, "data": None, "error": error, "traceId": TRACE}


def listed(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"success": True, "data": {"items": list(items), **more}, "error": None, "traceId": TRACE}


def test_the_stop_has_no_body_and_carries_the_key_as_bearer() -> None:
    request = SONARLY.terminate(ACCOUNT, whole())
    assert (request.method, request.body) == ("POST", None)
    assert request.url == f"https://api.sonarly.io/v1/accounts/{GROUP}/campaigns/{CAMPAIGN}/stop"
    assert request.headers["Authorization"] == "Bearer key-of-the-account"


@pytest.mark.parametrize(
    "scope",
    [Scope.agent("a"), Scope.numbers(["+918882876897"]), Scope.numbers_in_campaign("c", ["+918882876897"])],
)
def test_nothing_but_a_campaign_can_be_stopped(scope: Scope) -> None:
    for refuse in (SONARLY.terminate, SONARLY.scope_state):
        with pytest.raises(UnsafeRequest):
            refuse(ACCOUNT, WholeScope(scope))
    with pytest.raises(UnsafeRequest):
        WholeScope.requests_for(scope, SONARLY.capabilities)


def test_no_call_is_stopped_by_id_and_no_webhook_is_believed() -> None:
    with pytest.raises(UnsafeRequest):
        SONARLY.terminate(ACCOUNT, BatchOfCallIds(("c-1",)))
    with pytest.raises(NotUnderstood):
        SONARLY.read_webhook(ACCOUNT, {"event": "campaign.stopped"}, "e1")


@given(ANY_ID)
def test_whatever_stands_in_a_campaign_id_it_names_one_campaign_of_this_group(campaign_id: str) -> None:
    scope = WholeScope(Scope(ScopeKind.CAMPAIGN, campaign_id=campaign_id))
    try:
        request = SONARLY.terminate(ACCOUNT, scope)
    except UnsafeRequest:
        assert campaign_id in {".", ".."}
    else:
        assert path_sent(request) == ("v1", "accounts", GROUP, "campaigns", campaign_id, "stop")
        assert request.body is None


def test_a_stop_keeps_trace_and_count_and_until_when_it_is_held_back() -> None:
    campaign = {"id": CAMPAIGN, "status": "stopped", "rateLimitedUntil": "2026-01-01T12:05:00Z"}
    data = {"campaign": campaign, "instancesStopped": 25}
    body = {"success": True, "data": data, "error": None, "traceId": TRACE}
    understood = SONARLY.understand(answer(200, body))
    assert (understood.answer, understood.reported, understood.trace_id) == (AnswerClass.ACCEPTED, 25, TRACE)
    assert understood.more == campaign
    assert understood.retry_after_seconds is None
    assert SONARLY.understand(answer(200, body | {"data": data | {"instancesStopped": 0}})).reported == 0


@pytest.mark.parametrize(
    "body",
    [
        refused("SOMETHING"),
        {"success": "true", "data": {}, "error": None},
        {"data": {"instancesStopped": 1}},
        [],
        b"<html>",
        b"",
    ],
)
def test_a_200_that_does_not_say_success_is_never_accepted(body: Any) -> None:
    understood = SONARLY.understand(answer(200, body))
    assert understood.answer is AnswerClass.UNKNOWN
    assert understood.reported is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, AnswerClass.POISON),
        (401, AnswerClass.CREDENTIALS),
        (403, AnswerClass.PERMISSION),
        (404, AnswerClass.NOT_FOUND),
        (409, AnswerClass.CONFLICT),
        (429, AnswerClass.THROTTLED),
        (500, AnswerClass.UNKNOWN),
        (502, AnswerClass.UNKNOWN),
    ],
)
def test_every_error_of_the_page_has_its_own_meaning(status: int, expected: AnswerClass) -> None:
    understood = SONARLY.understand(answer(status, refused("SOME_CODE")))
    assert (understood.answer, understood.trace_id, understood.more["code"]) == (expected, TRACE, "SOME_CODE")
    assert MEANINGS[status][1] in understood.detail
    assert len({meaning for _, meaning in MEANINGS.values()}) == len(MEANINGS) == 8
    for unreadable in (b"Bad Gateway", b"", b"[]"):
        assert SONARLY.understand(answer(status, unreadable)).answer is expected


@pytest.mark.parametrize(
    ("status", "expected"), [(302, AnswerClass.CONFIGURATION), (503, AnswerClass.UNKNOWN), (422, AnswerClass.POISON)]
)
def test_other_statuses_are_classed_as_everywhere(status: int, expected: AnswerClass) -> None:
    assert SONARLY.understand(answer(status, refused("X"))).answer is expected


def test_429_waits_as_long_as_it_is_told() -> None:
    until = {"rateLimitedUntil": "2026-01-01T12:01:30Z"}
    assert SONARLY.understand(answer(429, refused("RATE_LIMITED", until))).retry_after_seconds == 90.0
    campaign = refused("RATE_LIMITED") | {"data": {"campaign": until}}
    understood = SONARLY.understand(answer(429, campaign))
    assert (understood.retry_after_seconds, understood.more["rateLimitedUntil"]) == (90.0, until["rateLimitedUntil"])
    assert SONARLY.understand(answer(429, campaign, retry_after="7")).retry_after_seconds == 7.0
    past = refused("RATE_LIMITED", {"rateLimitedUntil": "2025-01-01T00:00:00Z"})
    assert SONARLY.understand(answer(429, past)).retry_after_seconds == 0.0
    for unreadable in ("soon", "2999-01-01T00:00:00Z"):
        wait = SONARLY.understand(answer(429, refused("X", {"rateLimitedUntil": unreadable}))).retry_after_seconds
        assert wait in {None, 900.0}
    assert SONARLY.understand(answer(500, campaign)).retry_after_seconds is None


@pytest.mark.parametrize("status", [*STOPPED, "In-Progress", "STOPPED", "something", None, 3])
def test_a_campaign_is_found_in_the_list_and_an_unknown_status_is_not_guessed_at(status: Any) -> None:
    other = {"id": "507f1f77bcf86cd799439099", "status": "active"}
    body = listed(other, {"id": CAMPAIGN, "status": status, "rateLimitedUntil": "2026-01-01T12:05:00Z"})
    state = SONARLY.read_scope_state(ACCOUNT, whole(), answer(200, body))
    assert state.answer.answer is AnswerClass.ACCEPTED
    expected = {"In-Progress": False, "STOPPED": True}.get(status) if status not in STOPPED else STOPPED[status]
    assert state.stopped is expected
    assert state.answer.more["rateLimitedUntil"] == "2026-01-01T12:05:00Z"
    assert state.answer.trace_id == TRACE


def test_a_campaign_that_is_not_in_the_list_says_nothing() -> None:
    nowhere = SONARLY.read_scope_state(ACCOUNT, whole(), answer(200, listed()))
    assert (nowhere.answer.answer, nowhere.stopped) == (AnswerClass.NOT_FOUND, None)
    paged = SONARLY.read_scope_state(ACCOUNT, whole(), answer(200, listed(nextCursor="1", hasMore=True)))
    assert (paged.answer.answer, paged.stopped) == (AnswerClass.ACCEPTED, None)
    for unreadable in ({"success": True, "data": None}, {"success": True, "data": {"items": {}}}, b"x", refused("X")):
        state = SONARLY.read_scope_state(ACCOUNT, whole(), answer(200, unreadable))
        assert (state.answer.answer, state.stopped) == (AnswerClass.UNKNOWN, None)


async def stop(stage: Stage, campaign_id: str, **given: Any) -> tuple[AnswerClass, int | None]:
    of = account_at(
        stage, provider="sonarly", **({"account_group_id": stage.simulator.scenario.account_group_id} | given)
    )
    understood = SONARLY.understand(await send(stage, SONARLY.terminate(of, whole(campaign_id))))
    assert len(understood.trace_id or "") == 24
    return understood.answer, understood.reported


async def stopped(stage: Stage, campaign_id: str) -> bool | None:
    of = account_at(stage, provider="sonarly", account_group_id=stage.simulator.scenario.account_group_id)
    response = await send(stage, SONARLY.scope_state(of, whole(campaign_id)))
    return SONARLY.read_scope_state(of, whole(campaign_id), response).stopped


async def test_over_http_a_campaign_is_stopped_once_and_its_state_says_so() -> None:
    async with playing(WAITING, "sonarly") as stage:
        campaign = (await stage.campaign(8))[0].campaign
        assert await stopped(stage, campaign.id) is False
        assert await stop(stage, campaign.id) == (AnswerClass.ACCEPTED, 7)
        assert await stopped(stage, campaign.id) is True
        assert not stage.verdict.violations
        assert await stop(stage, campaign.id) == (AnswerClass.CONFLICT, None)
        assert await stop(stage, CAMPAIGN) == (AnswerClass.NOT_FOUND, None)
        assert await stop(stage, campaign.id, account_group_id=GROUP) == (AnswerClass.NOT_FOUND, None)
        assert await stop(stage, f"../{campaign.id}") == (AnswerClass.NOT_FOUND, None)
        assert await stopped(stage, CAMPAIGN) is None


@pytest.mark.parametrize(
    ("fault", "settings", "expected"),
    [
        ("unauthorized", {}, AnswerClass.CREDENTIALS),
        ("forbidden", {}, AnswerClass.PERMISSION),
        ("throttled", {}, AnswerClass.THROTTLED),
        ("server-error", {"status": 500}, AnswerClass.UNKNOWN),
        ("server-error", {"status": 502}, AnswerClass.UNKNOWN),
        ("lie", {}, AnswerClass.ACCEPTED),
    ],
)
@pytest.mark.parametrize("applied", [False, True])
async def test_over_http_after_a_fault_the_state_says_whether_to_send_again(
    fault: str, settings: dict[str, Any], expected: AnswerClass, applied: bool
) -> None:
    async with playing(WAITING, "sonarly") as stage:
        campaign = (await stage.campaign(4))[0].campaign
        stage.fault(fault, count=1, applied=applied, **settings)
        assert (await stop(stage, campaign.id))[0] is expected
        took_effect = applied and fault != "lie"
        assert await stopped(stage, campaign.id) is took_effect
        if not took_effect:
            assert await stop(stage, campaign.id) == (AnswerClass.ACCEPTED, 3)
        assert not stage.verdict.violations
