from dataclasses import replace
from typing import Any

import pytest

from consumer.simulate import PortTakenError, Scenario, SimulatedProvider, parse_scenario
from consumer.simulate.calls import Call
from tests.unit.simulated_provider_stage import QUICK, STANDING, Stage, ids, playing, until


async def order(stage: Stage, **told: Any) -> str:
    status, body = await stage.control("POST", "/orders", told)
    assert status == 201
    return str(body["order_id"])


async def terminate(stage: Stage, calls: list[Call]) -> None:
    assert (await stage.ask("PATCH", "/campaign/terminate", {"call_ids": ids(calls)}))[0] == 200


async def test_calls_that_nobody_ordered_to_stop_are_found() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(20))[1:]
        await terminate(stage, calls[:4])
        assert stage.verdict.terminated_unordered == 0, "no order was told, so nothing can be said"
        await order(stage, call_ids=ids(calls[:3]))
        assert stage.verdict.terminated_unordered == 1
        assert stage.verdict.ordered_still_terminable == 0


async def test_every_kind_of_order_covers_its_calls_and_no_other() -> None:
    async with playing() as stage:
        one = (await stage.campaign(40, people="same", agent_id="a", repeated_people=0))[1:]
        two = await stage.campaign(40, people="same", agent_id="b", repeated_people=0)
        orders = stage.simulator.exchange.judge.orders
        now = stage.simulator.now()

        async def covered(**told: Any) -> list[str]:
            order_id = await order(stage, **told)
            found = [call.id for call in one + two if orders.covers(call, now)]
            orders.release(order_id, now)
            return found

        number, campaign_id = one[0].number, one[0].campaign.id
        assert await covered(campaign_id=campaign_id) == ids(one)
        assert await covered(agent_id="b") == ids(two)
        assert await covered(mobile_numbers=[number]) == [c.id for c in one + two if c.number == number]
        assert await covered(campaign_id=campaign_id, mobile_numbers=[number]) == [one[0].id]
        assert await covered(call_ids=[two[3].id]) == [two[3].id]


async def test_a_released_order_covers_nothing_that_is_cut_later() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(5))[1:]
        order_id = await order(stage, campaign_id=calls[0].campaign.id)
        await terminate(stage, calls[:2])
        assert stage.verdict.ordered_still_terminable == 2
        assert (await stage.control("POST", f"/orders/{order_id}/release"))[0] == 200
        assert (await stage.control("POST", "/orders/99/release"))[0] == 404
        await terminate(stage, calls[2:3])
        assert stage.verdict.terminated_unordered == 1
        assert stage.verdict.ordered_still_terminable == 0


async def test_other_calls_of_people_who_opted_out_count_as_ordered() -> None:
    scenario = replace(QUICK, speed=50.0, dial=replace(QUICK.dial, per_second=1.0))
    async with playing(scenario) as stage:
        await order(stage, opt_outs=True)
        calls = await stage.campaign(200, repeated_people=0.5)
        orders = stage.simulator.exchange.judge.orders

        def waiting(*, covered: bool) -> list[Call]:
            now = stage.simulator.now()
            return [call for call in calls if call.terminable and orders.covers(call, now) is covered]

        await until(lambda: bool(waiting(covered=True)))
        assert stage.verdict.ordered_still_terminable > 0
        await terminate(stage, waiting(covered=True)[:1])
        assert stage.verdict.terminated_unordered == 0
        await terminate(stage, waiting(covered=False)[:1])
        assert stage.verdict.terminated_unordered == 1


async def test_the_control_api_tells_starts_and_resets() -> None:
    async with playing() as stage:
        status, campaign = await stage.control("POST", "/campaigns", {"calls": 12, "register_per_second": 5000})
        assert status == 201
        await until(lambda: stage.verdict.calls == 12)
        _, found = await stage.control("GET", f"/calls?status=registered&campaign_id={campaign['campaign_id']}&limit=3")
        assert (found["total"], len(found["calls"])) == (11, 3)
        assert (await stage.control("GET", "/campaigns"))[1]["campaigns"][0]["calls"] == 12
        await stage.control("POST", "/faults", {"faults": [{"kind": "lie", "count": 3}, {"kind": "slow"}]})
        _, faults = await stage.control("DELETE", "/faults?kind=slow")
        assert [fault["kind"] for fault in faults["faults"]] == ["lie"]
        await stage.ask("PATCH", "/campaign/terminate", {"campaign_id": campaign["campaign_id"]})
        stage.simulator.exchange.faults.clear()
        await stage.ask("PATCH", "/campaign/terminate", {"campaign_id": campaign["campaign_id"]})
        verdict = (await stage.control("GET", "/verdict"))[1]
        assert (verdict["calls"], verdict["calls_cut_by_status"]) == (12, {"registered": 11})
        assert (verdict["faults_struck"], verdict["violations"]) == ({"lie": 1}, {})
        assert await stage.control("POST", "/reset") == (200, {"restarted": False})
        assert (await stage.control("GET", "/verdict"))[1]["calls"] == 0
        assert (await stage.control("GET", "/faults"))[1] == {"faults": []}
        assert (await stage.control("POST", "/campaigns", {"calls": 1, "register_per_second": 5000}))[0] == 201
        await until(lambda: stage.verdict.webhooks_accepted > 0)


async def test_reset_can_play_the_scenario_again() -> None:
    scenario = parse_scenario({"campaigns": [{"calls": 3, "register_per_second": 100}], "speed": 100})
    async with playing(scenario) as stage:
        await until(lambda: stage.verdict.calls == 3)
        await stage.control("POST", "/reset", {"restart": True})
        await until(lambda: stage.verdict.calls == 3)


@pytest.mark.parametrize(
    ("method", "path", "body", "names"),
    [
        ("POST", "/campaigns", {"calls": 0}, "calls"),
        ("POST", "/campaigns", {"colour": "red"}, "colour"),
        ("POST", "/orders", {}, "call_ids"),
        ("POST", "/faults", {"kind": "nonsense"}, "kind"),
        ("DELETE", "/faults?kind=nonsense", None, "kind"),
        ("GET", "/calls?status=nonsense", None, "status"),
    ],
)
async def test_a_control_request_that_makes_no_sense_is_refused_by_name(
    method: str, path: str, body: Any, names: str
) -> None:
    async with playing() as stage:
        status, answer = await stage.control(method, path, body)
        assert status == 400
        assert names in answer["error"]


async def test_a_taken_port_gives_the_next_one_or_says_so() -> None:
    async with playing() as stage:
        taken = stage.simulator.port

        def another(ports_tried: int) -> SimulatedProvider:
            return SimulatedProvider(STANDING, port=taken, ports_tried=ports_tried, webhook_url=None, api_key="k")

        with pytest.raises(PortTakenError, match=str(taken)):
            await another(1).start()
        simulator = another(20)
        await simulator.start()
        assert taken < simulator.port < taken + 20
        await simulator.stop()


async def test_what_the_clock_dies_of_is_raised_to_who_waits() -> None:
    simulator = SimulatedProvider(STANDING, port=0, webhook_url=None, api_key="k")
    await simulator.start()

    def fail(_now: float) -> None:
        raise ZeroDivisionError

    simulator.exchange.timeline.at(0, fail)
    with pytest.raises(ExceptionGroup, match="TaskGroup") as died:
        await simulator.wait()
    assert died.value.subgroup(ZeroDivisionError)
    await simulator.stop()


def test_shares_over_one_and_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="over 1"):
        parse_scenario({"outcomes": {"failed": 0.6, "not_answered": 0.6}})
    with pytest.raises(ValueError, match="dail"):
        parse_scenario({"dail": {}})
    assert parse_scenario({}) == Scenario()
