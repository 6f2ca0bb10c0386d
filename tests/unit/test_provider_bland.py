from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.provider import BatchOfCallIds, HistoryQuery, NotUnderstood, UnsafeRequest, WholeScope
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import EventType, Status
from consumer.model.terminations import AnswerClass
from consumer.simulate import Dial, Outcomes
from consumer.simulate.calls import Call
from consumer.simulate.calls import Status as Played
from handlers.providers.bland import BATCH, Bland
from tests.unit.provider_exchange import ANY_ID, NOW, account_at, answer, path_sent, send
from tests.unit.simulated_provider_stage import QUICK, STANDING, Stage, having, playing, until
from tests.unit.values import account

BLAND = Bland()
ACCOUNT = account(provider="bland")
LIVE = replace(
    STANDING,
    dial=Dial(per_second=10_000, lines=3, ring_seconds=0.001, talk_seconds=10_000),
    outcomes=Outcomes(not_answered=0, failed=0),
)
"""Three calls connect and talk on; the others wait for a line."""
RINGING = replace(LIVE, dial=replace(LIVE.dial, ring_seconds=600))
DETAILS = {"call_id": "c-1", "to": "+918882876897", "completed": False, "queue_status": "queued", "started_at": None}


def whole(campaign_id: str = "b-1") -> WholeScope:
    (only,) = WholeScope.requests_for(Scope.campaign(campaign_id), BLAND.capabilities)
    return only


def one(call_id: str) -> BatchOfCallIds:
    return BatchOfCallIds.of([call_id], BLAND.capabilities.batch_limit)


def test_stops_have_no_body_and_carry_the_bare_key() -> None:
    call, campaign = BLAND.terminate(ACCOUNT, one("c-1")), BLAND.terminate(ACCOUNT, whole())
    assert (call.method, call.url) == ("POST", "https://api.bland.ai/v1/calls/c-1/stop")
    assert (campaign.method, campaign.url) == ("POST", "https://api.bland.ai/v1/campaigns/b-1/stop")
    for request in (call, campaign):
        assert request.body is None
        assert dict(request.headers) == {"authorization": "key-of-the-account"}


@given(ANY_ID)
def test_whatever_stands_in_an_id_it_names_one_call_or_one_campaign(text: str) -> None:
    try:
        call = BLAND.terminate(ACCOUNT, BatchOfCallIds((text,)))
    except UnsafeRequest:
        assert text.lower() in {".", "..", "active"}
    else:
        assert path_sent(call) == ("v1", "calls", text, "stop")
        assert path_sent(BLAND.look_up(ACCOUNT, text)) == ("v1", "calls", text)
        assert call.body is None
    try:
        campaign = BLAND.terminate(ACCOUNT, WholeScope(Scope(ScopeKind.CAMPAIGN, campaign_id=text)))
    except UnsafeRequest:
        assert text in {".", ".."}
    else:
        assert path_sent(campaign) == ("v1", "campaigns", text, "stop")


@pytest.mark.parametrize("call_id", ["active", "ACTIVE"])
def test_no_call_is_named_active_since_that_would_hang_up_every_call(call_id: str) -> None:
    with pytest.raises(UnsafeRequest, match="mean something else"):
        BLAND.terminate(ACCOUNT, one(call_id))


@given(st.lists(ANY_ID, min_size=2, max_size=5, unique=True))
def test_several_calls_never_become_one_request(call_ids: list[str]) -> None:
    with pytest.raises(UnsafeRequest):
        BLAND.terminate(ACCOUNT, BatchOfCallIds(tuple(call_ids)))
    with pytest.raises(UnsafeRequest):
        BatchOfCallIds.of(call_ids, BLAND.capabilities.batch_limit)


@pytest.mark.parametrize(
    "scope", [Scope.agent("a"), Scope.numbers(["+918882876897"]), Scope.numbers_in_campaign("c", ["+918882876897"])]
)
def test_nothing_but_a_campaign_can_be_stopped_as_a_whole(scope: Scope) -> None:
    for refuse in (BLAND.terminate, BLAND.scope_state):
        with pytest.raises(UnsafeRequest):
            refuse(ACCOUNT, WholeScope(scope))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"status": "success", "message": "Call ended successfully."}, AnswerClass.ACCEPTED),
        (200, {"status": "error", "message": "SID not found for the given c_id."}, AnswerClass.NOT_FOUND),
        (400, {"status": "error", "message": "SID not found for the given c_id."}, AnswerClass.NOT_FOUND),
        (404, {"status": "error", "message": "Campaign not found."}, AnswerClass.NOT_FOUND),
        (200, {"status": "error", "message": "Internal server error."}, AnswerClass.UNKNOWN),
        (200, {"message": "Call ended successfully."}, AnswerClass.UNKNOWN),
        (200, [], AnswerClass.UNKNOWN),
        (200, b"<html>", AnswerClass.UNKNOWN),
        (500, {"status": "success"}, AnswerClass.UNKNOWN),
        (500, {"status": "error", "message": "call not found"}, AnswerClass.UNKNOWN),
        (400, {"status": "error", "message": "Invalid call id"}, AnswerClass.POISON),
        (401, b"", AnswerClass.CREDENTIALS),
        (403, {"status": "success"}, AnswerClass.PERMISSION),
        (429, {"status": "error", "message": "Rate limit exceeded"}, AnswerClass.THROTTLED),
        (302, b"", AnswerClass.CONFIGURATION),
    ],
)
def test_the_body_decides_and_not_the_http_status_alone(status: int, body: Any, expected: AnswerClass) -> None:
    assert BLAND.understand(answer(status, body)).answer is expected


@pytest.mark.parametrize("stopped", [0, 12, None, "3", True, -1])
def test_num_calls_is_kept_and_none_stopped_is_a_success(stopped: Any) -> None:
    body = {"status": "success", "message": "ok", "num_calls": stopped, "campaign_id": "b-1"}
    understood = BLAND.understand(answer(200, body))
    assert understood.answer is AnswerClass.ACCEPTED
    assert understood.reported == (stopped if stopped in {0, 12} else None)
    assert understood.more == {"campaign_id": "b-1"}


@pytest.mark.parametrize(
    ("more", "status", "started"),
    [
        ({"queue_status": "new"}, Status.REGISTERED, False),
        ({"queue_status": "queued"}, Status.REGISTERED, False),
        ({"queue_status": "allocated"}, Status.REGISTERED, False),
        ({"queue_status": "started"}, Status.ONGOING, True),
        ({"queue_status": "queued", "started_at": "2026-01-01T12:00:00Z"}, Status.ONGOING, True),
        ({"queue_status": "queued", "completed": True}, Status.FAILED, True),
        ({"queue_status": "complete"}, Status.FAILED, True),
        ({"queue_status": "completed", "answered_by": "human"}, Status.COMPLETED, True),
        ({"queue_status": "complete", "error_message": "Call stopped."}, Status.CANCELLED, True),
        ({"queue_status": "complete", "status": "canceled"}, Status.CANCELLED, True),
        ({"queue_status": "queue_error"}, Status.FAILED, True),
        ({"queue_status": "held"}, None, None),
        ({"queue_status": None}, None, None),
    ],
)
def test_a_look_says_how_far_the_call_is(more: dict[str, Any], status: Status | None, started: bool | None) -> None:
    look = BLAND.read_look_up(ACCOUNT, "c-1", answer(200, DETAILS | more))
    assert (look.answer.answer, look.started) == (AnswerClass.ACCEPTED, started)
    assert look.event is not None
    assert (look.event.status, look.event.source, look.event.at) == (status, "history", NOW)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"status": "error", "message": "Call not found."}, AnswerClass.NOT_FOUND),
        (200, {"status": "error", "message": "Call not found."}, AnswerClass.NOT_FOUND),
        (401, {"status": "error", "message": "no"}, AnswerClass.CREDENTIALS),
        (200, DETAILS | {"call_id": "c-2"}, AnswerClass.UNKNOWN),
        (200, {"queue_status": "queued"}, AnswerClass.UNKNOWN),
        (200, DETAILS | {"call_length": "long"}, AnswerClass.UNKNOWN),
        (200, b"{", AnswerClass.UNKNOWN),
    ],
)
def test_a_look_that_tells_nothing_of_this_call_never_lets_it_be_stopped(
    status: int, body: Any, expected: AnswerClass
) -> None:
    look = BLAND.read_look_up(ACCOUNT, "c-1", answer(status, body))
    assert (look.answer.answer, look.event, look.started) == (expected, None, None)


def test_history_is_asked_by_campaign_number_and_whether_over_and_paged_by_index() -> None:
    query = HistoryQuery(
        "b-1", number="+918882876897", statuses=(Status.REGISTERED, Status.RETRY), offset=100, limit=50
    )
    request = BLAND.history(ACCOUNT, query)
    assert request.url == (
        "https://api.bland.ai/v1/calls?from=100&to=150&limit=50&campaign_id=b-1&to_number=%2B918882876897&completed=false"
    )
    assert "completed=true" in BLAND.history(ACCOUNT, HistoryQuery(statuses=(Status.FAILED,))).url
    assert "completed" not in BLAND.history(ACCOUNT, HistoryQuery(statuses=(Status.FAILED, Status.ONGOING))).url


def test_a_page_of_history_keeps_what_can_be_read_and_knows_whether_there_is_more() -> None:
    rows = [
        DETAILS,
        DETAILS | {"call_id": "c-2", "queue_status": "held"},
        {"to": "nobody"},
        "no row",
        DETAILS | {"call_id": "c-3"},
    ]
    query = HistoryQuery("b-1", limit=5, offset=5, statuses=(Status.REGISTERED,))
    page = BLAND.read_history(ACCOUNT, query, answer(200, {"count": 5, "total_count": 11, "calls": rows}))
    assert [(event.call_id, event.campaign_id) for event in page.events] == [("c-1", "b-1"), ("c-3", "b-1")]
    assert page.following == replace(query, offset=10)
    assert BLAND.read_history(ACCOUNT, query, answer(200, {"total_count": 10, "calls": rows})).following is None
    assert BLAND.read_history(ACCOUNT, query, answer(200, {"count": 784, "calls": rows})).following is not None
    assert BLAND.read_history(ACCOUNT, query, answer(200, {"count": 784, "calls": rows[:4]})).following is None
    for status, body in ((200, {"count": 1}), (200, b"x"), (500, {}), (429, {})):
        failed = BLAND.read_history(ACCOUNT, query, answer(status, body))
        assert (failed.events, failed.following) == ((), None)
        assert failed.answer.answer is not AnswerClass.ACCEPTED


@pytest.mark.parametrize(
    ("states", "stopped"),
    [
        (["active"], False),
        (["stopped", "active"], False),
        (["stopped"], True),
        (["completed", "Cancelled"], True),
        (["paused"], None),
        (["stopped", "paused"], None),
        ([None], None),
        ([], None),
    ],
)
def test_a_campaign_is_stopped_only_where_every_row_plainly_says_so(states: list[Any], stopped: bool | None) -> None:
    rows = [{"campaign_id": "b-1", "campaign_state": state} for state in states]
    rows.append({"campaign_id": "b-2", "campaign_state": "active"})
    state = BLAND.read_scope_state(ACCOUNT, whole(), answer(200, {"status": "success", "campaigns": rows}))
    assert (state.answer.answer, state.stopped) == (AnswerClass.ACCEPTED, stopped)


def test_an_analysed_call_is_two_events_with_ids_of_their_own() -> None:
    body = DETAILS | {"completed": True, "answered_by": "human", "analysis": {"opt_out": True}, "summary": "No more."}
    finished, analysed = BLAND.read_webhook(ACCOUNT, body, "e1")
    assert (finished.type, finished.status, finished.event_id) == (EventType.FINISHED, Status.COMPLETED, "e1")
    assert (analysed.type, analysed.status, analysed.event_id) == (EventType.ANALYSIS, None, "e1-analysis")
    assert analysed.analysis == {"opt_out": True, "summary": "No more."}


async def look(stage: Stage, call: Call) -> tuple[Status | None, bool | None]:
    of = account_at(stage, provider="bland")
    seen = BLAND.read_look_up(of, call.id, await send(stage, BLAND.look_up(of, call.id)))
    return (seen.event.status if seen.event else None), seen.started


async def stop(stage: Stage, selector: BatchOfCallIds | WholeScope) -> tuple[AnswerClass, int | None]:
    understood = BLAND.understand(await send(stage, BLAND.terminate(account_at(stage, provider="bland"), selector)))
    return understood.answer, understood.reported


async def stopped(stage: Stage, campaign_id: str) -> bool | None:
    of = account_at(stage, provider="bland")
    response = await send(stage, BLAND.scope_state(of, whole(campaign_id)))
    return BLAND.read_scope_state(of, whole(campaign_id), response).stopped


async def test_over_http_a_waiting_call_is_stopped_and_a_live_one_is_seen_before_it_is_cut() -> None:
    async with playing(LIVE, "bland") as stage:
        calls = await stage.campaign(10)
        await until(lambda: sum(call.live for call in calls) == 3)
        waiting, talking = calls[-1], next(call for call in calls if call.live)
        assert await look(stage, talking) == (Status.ONGOING, True)
        assert await look(stage, waiting) == (Status.REGISTERED, False)
        assert await stop(stage, one(waiting.id)) == (AnswerClass.ACCEPTED, None)
        assert await look(stage, waiting) == (Status.CANCELLED, True)
        assert not stage.verdict.violations
        assert await stop(stage, one(waiting.id)) == (AnswerClass.NOT_FOUND, None)
        assert await stop(stage, one("nobody")) == (AnswerClass.NOT_FOUND, None)
        assert await look(stage, replace(waiting, id="nobody")) == (None, None)


async def test_over_http_a_call_that_only_rings_may_still_be_stopped() -> None:
    async with playing(RINGING, "bland") as stage:
        calls = await stage.campaign(5)
        await until(lambda: len(having(calls, Played.ONGOING)) == 3)
        assert await look(stage, having(calls, Played.ONGOING)[0]) == (Status.REGISTERED, False)


async def test_over_http_a_campaign_is_stopped_with_its_live_calls_and_says_how_many() -> None:
    async with playing(LIVE, "bland") as stage:
        calls = await stage.campaign(10)
        await until(lambda: sum(call.live for call in calls) == 3)
        campaign_id = calls[0].campaign.id
        assert await stopped(stage, campaign_id) is False
        assert await stop(stage, whole(campaign_id)) == (AnswerClass.ACCEPTED, 10)
        assert stage.verdict.live_calls_cut == 3
        assert await stopped(stage, campaign_id) is True
        assert await stop(stage, whole(campaign_id)) == (AnswerClass.ACCEPTED, 0)
        assert await stop(stage, whole("nobody")) == (AnswerClass.NOT_FOUND, None)
        assert await stopped(stage, "nobody") is None


@pytest.mark.parametrize(
    ("fault", "settings", "expected"),
    [
        ("unauthorized", {}, AnswerClass.CREDENTIALS),
        ("forbidden", {}, AnswerClass.PERMISSION),
        ("throttled", {"retry_after": "seconds"}, AnswerClass.THROTTLED),
        ("server-error", {"status": 500}, AnswerClass.UNKNOWN),
        ("server-error", {"status": 503, "applied": True}, AnswerClass.UNKNOWN),
        ("poison", {}, AnswerClass.POISON),
        ("ignore-ids", {}, AnswerClass.NOT_FOUND),
        ("lie", {}, AnswerClass.ACCEPTED),
    ],
)
async def test_over_http_after_a_fault_a_look_says_what_became_of_the_call(
    fault: str, settings: dict[str, Any], expected: AnswerClass
) -> None:
    async with playing(STANDING, "bland") as stage:
        call = (await stage.campaign(3))[-1]
        stage.fault(fault, count=1, **settings)
        request = BLAND.terminate(account_at(stage, provider="bland"), one(call.id))
        understood = BLAND.understand(await send(stage, request))
        assert understood.answer is expected
        assert understood.retry_after_seconds == (2.0 if fault == "throttled" else None)
        applied = settings.get("applied", False)
        assert await look(stage, call) == ((Status.CANCELLED, True) if applied else (Status.REGISTERED, False))


async def test_over_http_history_lists_the_calls_of_a_campaign() -> None:
    async with playing(STANDING, "bland") as stage:
        calls = await stage.campaign(6)
        await stage.campaign(3)
        of, campaign_id = account_at(stage, provider="bland"), calls[0].campaign.id
        query = HistoryQuery(campaign_id, statuses=(Status.REGISTERED,))
        page = BLAND.read_history(of, query, await send(stage, BLAND.history(of, query)))
        waiting = {call.id for call in having(calls, Played.REGISTERED)}
        assert {event.call_id for event in page.events} >= waiting
        assert {event.campaign_id for event in page.events} == {campaign_id}
        assert page.following is None
        over = HistoryQuery(campaign_id, statuses=(Status.COMPLETED,))
        assert BLAND.read_history(of, over, await send(stage, BLAND.history(of, over))).events == ()


async def test_every_webhook_of_a_whole_campaign_is_understood() -> None:
    async with playing(QUICK, "bland") as stage:
        calls = await stage.campaign(30)
        await until(lambda: len(stage.receiver.taken) == len(calls) + 3)
        events = [e for n, body in enumerate(stage.receiver.bodies) for e in BLAND.read_webhook(ACCOUNT, body, f"e{n}")]
        ends = {event.call_id: event.status for event in events if event.type is EventType.FINISHED}
        assert ends == {call.id: Status(call.status.value) for call in calls}
        opted_out = {e.call_id for e in events if e.type is EventType.ANALYSIS and e.analysis.get("opt_out")}
        assert opted_out == {call.id for call in calls if call.opted_out} != set()
        batch = [event for event in events if event.call_id.startswith(BATCH)]
        assert {event.campaign_id for event in batch} == {calls[0].campaign.id}
        assert [event.status for event in batch] == [None] * 3


def test_a_body_that_is_neither_call_nor_batch_is_not_understood() -> None:
    for body in (
        {},
        {"batch_id": "b-1"},
        {"call_id": 7, "completed": True},
        {"batch_id": "b" * 300, "status": "failed"},
    ):
        with pytest.raises(NotUnderstood):
            BLAND.read_webhook(ACCOUNT, body, "e1")
