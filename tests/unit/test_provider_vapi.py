from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.provider import BatchOfCallIds, NotUnderstood, UnsafeRequest, WholeScope
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import EventType, Status
from consumer.model.terminations import AnswerClass
from consumer.simulate import Dial, Outcomes
from consumer.simulate.calls import Call
from consumer.simulate.calls import Status as Played
from handlers.providers.vapi import Vapi
from tests.unit.provider_exchange import ANY_ID, NOW, account_at, answer, path_sent, send
from tests.unit.simulated_provider_stage import QUICK, STANDING, Stage, having, playing, until
from tests.unit.values import account

VAPI = Vapi()
ACCOUNT = account(provider="vapi")
LIVE = replace(
    STANDING,
    dial=Dial(per_second=10_000, lines=3, ring_seconds=0.001, talk_seconds=10_000),
    outcomes=Outcomes(not_answered=0, failed=0),
)
"""Three calls connect and talk on; the others wait for a line."""
ROW = {
    "id": "c-1",
    "status": "scheduled",
    "campaignId": "k-1",
    "assistantId": "a-1",
    "customer": {"number": "+918882876897"},
}


def whole(campaign_id: str = "k-1") -> WholeScope:
    (only,) = WholeScope.requests_for(Scope.campaign(campaign_id), VAPI.capabilities)
    return only


def one(call_id: str) -> BatchOfCallIds:
    return BatchOfCallIds.of([call_id], VAPI.capabilities.batch_limit)


def test_the_requests_are_as_documented() -> None:
    call, campaign = VAPI.terminate(ACCOUNT, one("c-1")), VAPI.terminate(ACCOUNT, whole())
    assert (call.method, call.url, call.body) == ("DELETE", "https://api.vapi.ai/call/c-1", b"{}")
    assert (campaign.method, campaign.url) == ("PATCH", "https://api.vapi.ai/v2/campaign/k-1")
    assert orjson.loads(campaign.body or b"") == {"status": "cancelled"}
    for request in (call, campaign):
        assert request.headers["Authorization"] == "Bearer key-of-the-account"


@given(ANY_ID)
def test_whatever_stands_in_an_id_it_names_one_call_or_one_campaign(text: str) -> None:
    scope = WholeScope(Scope(ScopeKind.CAMPAIGN, campaign_id=text))
    try:
        call, campaign = VAPI.terminate(ACCOUNT, BatchOfCallIds((text,))), VAPI.terminate(ACCOUNT, scope)
    except UnsafeRequest:
        assert text in {".", ".."}
    else:
        assert path_sent(call) == ("call", text)
        assert orjson.loads(call.body or b"") == {}  # with ids in it, the id in the path would be ignored
        assert path_sent(campaign) == ("v2", "campaign", text)
        assert orjson.loads(campaign.body or b"") == {"status": "cancelled"}


@given(st.lists(ANY_ID, min_size=2, max_size=5, unique=True))
def test_several_calls_never_become_one_request(call_ids: list[str]) -> None:
    with pytest.raises(UnsafeRequest):
        VAPI.terminate(ACCOUNT, BatchOfCallIds(tuple(call_ids)))


@pytest.mark.parametrize(
    "scope", [Scope.agent("a"), Scope.numbers(["+918882876897"]), Scope.numbers_in_campaign("c", ["+918882876897"])]
)
def test_nothing_but_a_campaign_can_be_stopped_as_a_whole(scope: Scope) -> None:
    for refuse in (VAPI.terminate, VAPI.scope_state):
        with pytest.raises(UnsafeRequest):
            refuse(ACCOUNT, WholeScope(scope))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, ROW, AnswerClass.ACCEPTED),
        (200, b"", AnswerClass.UNKNOWN),
        (200, [], AnswerClass.UNKNOWN),
        (400, {"message": ["id must be a UUID"], "statusCode": 400}, AnswerClass.POISON),
        (401, {"message": "no"}, AnswerClass.CREDENTIALS),
        (403, {"message": "no"}, AnswerClass.PERMISSION),
        (404, {"message": "Call not found"}, AnswerClass.NOT_FOUND),
        (429, {"message": "slow down"}, AnswerClass.THROTTLED),
        (503, {"message": "Failed to erase call recordings"}, AnswerClass.UNKNOWN),
    ],
)
def test_every_answer_has_its_class(status: int, body: Any, expected: AnswerClass) -> None:
    understood = VAPI.understand(answer(status, body))
    assert understood.answer is expected
    assert understood.more == ({"id": "c-1", "status": "scheduled"} if expected is AnswerClass.ACCEPTED else {})


@pytest.mark.parametrize(
    ("more", "status", "started"),
    [
        ({"status": "scheduled"}, Status.REGISTERED, False),
        ({"status": "queued"}, Status.REGISTERED, False),
        ({"status": "ringing"}, Status.ONGOING, True),
        ({"status": "in-progress"}, Status.ONGOING, True),
        ({"status": "forwarding"}, Status.ONGOING, True),
        ({"status": "ended", "endedReason": "customer-ended-call"}, Status.COMPLETED, True),
        ({"status": "ended", "endedReason": "customer-busy"}, Status.FAILED, True),
        ({"status": "ended", "endedReason": "scheduled-call-deleted"}, Status.CANCELLED, True),
        ({"status": "deletion-failed"}, None, None),
    ],
)
def test_a_look_says_how_far_the_call_is(more: dict[str, Any], status: Status | None, started: bool | None) -> None:
    look = VAPI.read_look_up(ACCOUNT, "c-1", answer(200, ROW | more))
    assert (look.answer.answer, look.started) == (AnswerClass.ACCEPTED, started)
    assert look.event is not None
    assert (look.event.status, look.event.source, look.event.at) == (status, "history", NOW)
    assert (look.event.campaign_id, look.event.agent_id, look.event.number) == ("k-1", "a-1", "+918882876897")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"message": "Call not found"}, AnswerClass.NOT_FOUND),
        (200, ROW | {"status": "not-found"}, AnswerClass.NOT_FOUND),
        (200, ROW | {"id": "c-2"}, AnswerClass.UNKNOWN),
        (200, ROW | {"status": "paused"}, AnswerClass.UNKNOWN),
        (200, {}, AnswerClass.UNKNOWN),
        (200, b"{", AnswerClass.UNKNOWN),
        (500, {}, AnswerClass.UNKNOWN),
    ],
)
def test_a_look_that_tells_nothing_of_this_call_never_lets_it_be_stopped(
    status: int, body: Any, expected: AnswerClass
) -> None:
    look = VAPI.read_look_up(ACCOUNT, "c-1", answer(status, body))
    assert (look.answer.answer, look.event, look.started) == (expected, None, None)


@pytest.mark.parametrize(
    ("status", "stopped"),
    [
        ("scheduled", False),
        ("in-progress", False),
        ("ended", True),
        ("cancelled", True),
        ("archived", True),
        ("new", None),
    ],
)
def test_a_campaign_says_whether_it_is_stopped(status: str, stopped: bool | None) -> None:
    state = VAPI.read_scope_state(ACCOUNT, whole(), answer(200, {"id": "k-1", "status": status}))
    assert (state.answer.answer, state.stopped) == (AnswerClass.ACCEPTED, stopped)
    other = VAPI.read_scope_state(ACCOUNT, whole(), answer(200, {"id": "k-2", "status": status}))
    assert (other.answer.answer, other.stopped) == (AnswerClass.UNKNOWN, None)


async def look(stage: Stage, call_id: str) -> tuple[AnswerClass, Status | None, bool | None]:
    of = account_at(stage, provider="vapi")
    seen = VAPI.read_look_up(of, call_id, await send(stage, VAPI.look_up(of, call_id)))
    return seen.answer.answer, (seen.event.status if seen.event else None), seen.started


async def stop(stage: Stage, selector: BatchOfCallIds | WholeScope) -> AnswerClass:
    return VAPI.understand(await send(stage, VAPI.terminate(account_at(stage, provider="vapi"), selector))).answer


async def stopped(stage: Stage, campaign_id: str) -> bool | None:
    of = account_at(stage, provider="vapi")
    response = await send(stage, VAPI.scope_state(of, whole(campaign_id)))
    return VAPI.read_scope_state(of, whole(campaign_id), response).stopped


async def live(stage: Stage) -> tuple[list[Call], Call]:
    """Start a campaign in which three calls talk; gives its calls and one that talks."""
    calls = await stage.campaign(10)
    await until(lambda: sum(call.live for call in calls) == 3)
    return calls, next(call for call in calls if call.live)


async def test_over_http_a_scheduled_call_is_deleted_and_a_live_one_is_left_alone() -> None:
    async with playing(LIVE, "vapi") as stage:
        calls, talking = await live(stage)
        waiting = calls[-1].id
        assert await look(stage, waiting) == (AnswerClass.ACCEPTED, Status.REGISTERED, False)
        assert await look(stage, talking.id) == (AnswerClass.ACCEPTED, Status.ONGOING, True)
        assert await stop(stage, one(waiting)) is AnswerClass.ACCEPTED
        assert await look(stage, waiting) == (AnswerClass.NOT_FOUND, None, None)
        assert await stop(stage, one(talking.id)) is AnswerClass.POISON
        assert talking.live
        assert not stage.verdict.violations
        assert await stop(stage, one("nobody")) is AnswerClass.NOT_FOUND


async def test_over_http_a_campaign_is_cancelled_and_live_calls_finish() -> None:
    async with playing(LIVE, "vapi") as stage:
        calls, _ = await live(stage)
        campaign_id = calls[0].campaign.id
        assert await stopped(stage, campaign_id) is False
        assert await stop(stage, whole(campaign_id)) is AnswerClass.ACCEPTED
        assert await stopped(stage, campaign_id) is True
        assert (stage.verdict.calls_cut, stage.verdict.live_calls_cut) == (7, 0)
        assert not stage.verdict.violations
        assert await stop(stage, whole("nobody")) is AnswerClass.NOT_FOUND
        assert await stopped(stage, "nobody") is None


@pytest.mark.parametrize(
    ("fault", "settings", "expected"),
    [
        ("unauthorized", {}, AnswerClass.CREDENTIALS),
        ("forbidden", {}, AnswerClass.PERMISSION),
        ("throttled", {"retry_after": "date"}, AnswerClass.THROTTLED),
        ("server-error", {"status": 500}, AnswerClass.UNKNOWN),
        ("server-error", {"status": 503, "applied": True}, AnswerClass.UNKNOWN),
        ("poison", {}, AnswerClass.POISON),
        ("lie", {}, AnswerClass.ACCEPTED),
    ],
)
async def test_over_http_after_a_fault_a_look_says_what_became_of_the_call(
    fault: str, settings: dict[str, Any], expected: AnswerClass
) -> None:
    async with playing(STANDING, "vapi") as stage:
        call_id = (await stage.campaign(3))[-1].id
        stage.fault(fault, count=1, **settings)
        understood = VAPI.understand(
            await send(stage, VAPI.terminate(account_at(stage, provider="vapi"), one(call_id)))
        )
        assert understood.answer is expected
        assert (understood.retry_after_seconds is not None) is (fault == "throttled")
        gone = settings.get("applied", False)
        assert (await look(stage, call_id))[0] is (AnswerClass.NOT_FOUND if gone else AnswerClass.ACCEPTED)


async def test_every_webhook_of_a_whole_campaign_is_understood() -> None:
    async with playing(QUICK, "vapi") as stage:
        calls = await stage.campaign(30)
        everything = stage.simulator.exchange.table.everything
        await until(lambda: not everything.count(frozenset({Played.REGISTERED, Played.ONGOING})))
        completed = having(calls, Played.COMPLETED)
        await until(
            lambda: sum(b["message"]["type"] != "status-update" for b in stage.receiver.bodies) == len(completed)
        )
        await until(lambda: stage.verdict.webhooks_waiting == 0)
        events = [e for n, body in enumerate(stage.receiver.bodies) for e in VAPI.read_webhook(ACCOUNT, body, f"e{n}")]
        ends = {event.call_id: event.status for event in events if event.type is EventType.FINISHED}
        assert ends == {call.id: Status(call.status.value) for call in calls}
        reports = {e.call_id: e for e in events if e.type is EventType.ANALYSIS}
        assert {call_id for call_id, e in reports.items() if e.analysis["opt_out"]} == {
            c.id for c in calls if c.opted_out
        }
        assert all(event.connected for event in reports.values())
        assert {event.type for event in events} == {
            EventType.QUEUED,
            EventType.STARTED,
            EventType.FINISHED,
            EventType.ANALYSIS,
        }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": "status-update"},
        {"message": {"type": 3, "call": {"id": "c-1"}}},
        {"message": {"type": "status-update", "status": "ended"}},
        {"message": {"type": "status-update", "status": "ended", "call": {}}},
        {"message": {"type": "status-update", "status": "ended", "call": {"id": 5}}},
        {"message": {"type": "status-update", "call": {"id": "c-1"}}},
    ],
)
def test_a_body_that_is_no_message_about_a_call_is_not_understood(body: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        VAPI.read_webhook(ACCOUNT, body, "e1")
