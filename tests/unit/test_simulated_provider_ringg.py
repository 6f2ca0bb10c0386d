from typing import Any

import pytest

from consumer.simulate.calls import Call, Status
from tests.unit.simulated_provider_stage import STANDING, Stage, having, ids, playing

NONE_TERMINABLE = "No terminable calls found for the specified parameters"


async def terminate(stage: Stage, path: str = "", /, **body: Any) -> tuple[int, Any]:
    return await stage.ask("PATCH", f"/campaign/terminate{path}", body)


def cancelled(stage: Stage) -> set[str]:
    return set(stage.simulator.exchange.table.everything.by_status[Status.CANCELLED])


async def test_call_ids_stop_those_calls_and_no_other() -> None:
    async with playing() as stage:
        calls = await stage.campaign(20)
        waiting = having(calls, Status.REGISTERED)
        assert await terminate(stage, call_ids=ids(waiting[:3])) == (200, {"message": "Calls terminated successfully!"})
        assert cancelled(stage) == set(ids(waiting[:3]))
        assert stage.verdict.calls_cut_by_status == {"registered": 3}
        assert not stage.verdict.violations


async def test_every_scope_stops_what_it_names_and_spares_a_call_in_progress() -> None:
    async with playing() as stage:
        one = await stage.campaign(30, repeated_people=0.5, people="same", agent_id="agent-1")
        two = await stage.campaign(30, repeated_people=0.5, people="same", agent_id="agent-2")
        other = await stage.campaign(5, agent_id="agent-2")
        ongoing = having(one, Status.ONGOING)
        assert len(ongoing) == 1
        number = next(c.number for c in one[::-1] if c.number != ongoing[0].number)

        campaign_id = one[0].campaign.id
        expected: set[str] = set()

        async def stops(meant: list[Call], **body: Any) -> None:
            expected.update(c.id for c in meant if c.status is Status.REGISTERED)
            assert (await terminate(stage, **body))[0] == 200
            assert cancelled(stage) == expected

        await stops([c for c in one if c.number == number], campaign_id=campaign_id, mobile_numbers=[number])
        await stops([c for c in two if c.number == number], mobile_numbers=[number])
        await stops(one, campaign_id=campaign_id)
        await stops(two + other, agent_id="agent-2")
        assert ongoing[0].status is Status.ONGOING
        assert not stage.verdict.violations


@pytest.mark.parametrize(
    ("selectors", "acts_as"),
    [
        (("call_ids", "agent_id"), "agent_id"),
        (("call_ids", "campaign_id", "agent_id", "mobile_numbers"), "agent_id"),
        (("call_ids", "campaign_id"), "campaign_id"),
        (("call_ids", "campaign_id", "mobile_numbers"), "campaign_id"),
        (("call_ids", "mobile_numbers"), "mobile_numbers"),
    ],
)
async def test_a_stray_selector_acts_as_the_widest_and_is_judged(selectors: tuple[str, ...], acts_as: str) -> None:
    async with playing() as stage:
        calls = await stage.campaign(10, agent_id="agent-1")
        more = await stage.campaign(4, agent_id="agent-1")
        body = {
            "call_ids": [calls[-1].id],
            "campaign_id": calls[0].campaign.id,
            "agent_id": "agent-1",
            "mobile_numbers": [calls[-2].number],
        }
        meant = {
            "agent_id": calls + more,
            "campaign_id": calls,
            "mobile_numbers": [c for c in calls if c.number == calls[-2].number],
        }[acts_as]
        meant_ids = {c.id for c in meant if c.status is Status.REGISTERED}
        assert (await terminate(stage, **{name: body[name] for name in selectors}))[0] == 200
        assert cancelled(stage) == meant_ids
        assert stage.verdict.requests_with_wrong_selectors == 1


@pytest.mark.parametrize(
    "body", [{}, {"call_ids": []}, {"call_ids": "one"}, {"agent_id": ""}, {"mobile_numbers": [1]}, {"call_ids": None}]
)
async def test_no_usable_selector_stops_nothing_and_is_judged(body: dict[str, Any]) -> None:
    async with playing() as stage:
        await stage.campaign(3)
        assert (await terminate(stage, **body))[0] == 400
        assert not cancelled(stage)
        assert stage.verdict.requests_with_wrong_selectors == 1


@pytest.mark.parametrize("name", ["call_ids", "mobile_numbers"])
async def test_more_than_100_in_a_request_are_refused_and_judged(name: str) -> None:
    async with playing() as stage:
        calls = await stage.campaign(101, repeated_people=0)
        named = ids(calls) if name == "call_ids" else [call.number for call in calls]
        assert (await terminate(stage, **{name: named}))[0] == 400
        assert not cancelled(stage)
        assert stage.verdict.requests_over_100 == 1
        assert (await terminate(stage, **{name: named[:100]}))[0] == 200


async def test_unknown_ids_are_ignored_without_a_word() -> None:
    async with playing() as stage:
        calls = await stage.campaign(5)
        assert (await terminate(stage, call_ids=["nobody", calls[-1].id]))[0] == 200
        assert await terminate(stage, call_ids=["nobody"]) == (400, {"message": NONE_TERMINABLE})
        assert stage.verdict.ids_unknown == 2
        assert not stage.verdict.violations


async def test_asking_again_for_a_terminated_call_is_refused_and_called_needless() -> None:
    async with playing() as stage:
        calls = await stage.campaign(5)
        await terminate(stage, call_ids=[calls[-1].id])
        assert await terminate(stage, call_ids=[calls[-1].id]) == (400, {"message": NONE_TERMINABLE})
        assert stage.verdict.needless_ids == 1
        assert stage.verdict.most_requests_for_one_call == 2
        assert stage.verdict.violations == {"needless_ids": 1}


async def test_a_wrong_key_is_refused_stops_nothing_and_is_counted() -> None:
    async with playing() as stage:
        calls = await stage.campaign(2)
        for headers in ({"X-API-KEY": "another"}, {}):
            stage.headers = headers
            assert (await terminate(stage, call_ids=ids(calls)))[0] == 401
        assert not cancelled(stage)
        assert stage.verdict.unauthorized == 2
        assert stage.verdict.terminate_requests == 0


async def test_revenueable_has_the_split_paths_only() -> None:
    async with playing(provider="revenueable") as stage:
        calls = await stage.campaign(6)
        assert (await terminate(stage, call_ids=ids(calls)))[0] == 404
        assert stage.verdict.unknown_paths == 1
        assert (await terminate(stage, "/calls", call_ids=[calls[-1].id]))[0] == 200
        assert cancelled(stage) == {calls[-1].id}
        assert (await terminate(stage, "/calls", campaign_id=calls[0].campaign.id))[0] == 400
        assert cancelled(stage) == {calls[-1].id}
        assert (await terminate(stage, "/campaign", campaign_id=calls[0].campaign.id))[0] == 200
        assert cancelled(stage) == set(ids(calls[1:]))


async def test_history_pages_by_offset_and_filters() -> None:
    async with playing() as stage:
        calls = await stage.campaign(25)
        await stage.campaign(5)
        campaign_id = calls[0].campaign.id
        seen: list[str] = []
        while True:
            _, page = await stage.ask(
                "GET", "/calling/history", bulk_list_id=campaign_id, limit="10", offset=str(len(seen))
            )
            assert page["total"] == 25
            assert page["count"] == len(page["calls"])
            seen += [row["id"] for row in page["calls"]]
            if not page["calls"]:
                break
        assert seen == ids(calls)[::-1]
        await terminate(stage, call_ids=[calls[-1].id])
        _, page = await stage.ask("GET", "/calling/history", bulk_list_id=campaign_id, status="cancelled")
        assert [(row["id"], row["status"], row["to_number"]) for row in page["calls"]] == [
            (calls[-1].id, "cancelled", calls[-1].number)
        ]
        _, page = await stage.ask("GET", "/calling/history", agent_id=calls[0].campaign.agent_id)
        assert (page["total"], page["limit"], page["count"]) == (30, 10, 10)
        _, page = await stage.ask("GET", "/calling/history", start_date="2999-01-01")
        assert page["total"] == 0
        _, page = await stage.ask("GET", "/calling/history", end_date="2999-01-01", bulk_list_id="none")
        assert page["total"] == 0


async def test_call_details_tell_the_status_or_404() -> None:
    async with playing() as stage:
        calls = await stage.campaign(2)
        status, body = await stage.ask("GET", "/calling/call-details", id=calls[1].id)
        assert status == 200
        assert body["data"]["call_status"] == "registered"
        assert body["data"]["to_number"] == calls[1].number
        assert (await stage.ask("GET", "/calling/call-details", id="nobody"))[0] == 404
        assert (await stage.ask("GET", "/calling/call-details"))[0] == 400


async def test_a_campaign_may_be_started_again_with_new_calls() -> None:
    async with playing() as stage:
        first = list(await stage.campaign(4))
        await terminate(stage, campaign_id=first[0].campaign.id)
        both = await stage.campaign(4, campaign_id=first[0].campaign.id)
        assert len(set(ids(both))) == 8
        assert len(having(both, Status.REGISTERED)) == 4


async def test_the_same_seed_gives_the_same_ids_and_another_run_others() -> None:
    found = []
    for run in ("", "", "again"):
        async with playing(type(STANDING)(campaigns=(), seed=7, run=run)) as stage:
            calls = await stage.campaign(10)
            found.append([(call.id, call.number) for call in calls])
    assert found[0] == found[1]
    assert not set(found[0]) & set(found[2])
