"""How much rules may stop without asking: a whole service on real Kafka with a simulated provider."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from consumer.settings import Settings
from tests.kafka.service_stage import ACCOUNT, SECRET, Stage, running, staged

pytestmark = pytest.mark.kafka

NUMBER = "+4915112345678"


def rule(name: str, scope: str, mode: str = "enforce") -> dict[str, Any]:
    return {"name": name, "when": f"event.args.bad == '{name}'", "stop": {"scope": scope}, "mode": mode}


RULES = [
    rule("whole", "campaign"),
    rule("looks", "campaign", "shadow"),
    rule("one", "number"),
    rule("single", "call"),
    rule("goes-on", "campaign"),
]
LIMITS = {"per_rule": {"calls": 20, "share": 1.0}}


def with_rules(settings: Settings, **more: Any) -> Settings:
    changed = Settings.model_validate({"rules": RULES, "limits": LIMITS} | more)
    return settings.model_copy(update={"rules": changed.rules, "limits": changed.limits})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    prefix = f"l{secrets.token_hex(4)}."
    async with (
        staged(kafka_servers, prefix, tmp_path_factory.mktemp("limits")) as stage,
        running(with_rules(stage.settings)),
    ):
        yield stage


async def registered(stage: Stage, calls: int) -> tuple[str, list[str]]:
    campaign, ids = await stage.campaign(calls)
    for call_id in ids:
        await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda _: True)
    return campaign, ids


async def provoke(stage: Stage, name: str, campaign: str, number: str = NUMBER) -> None:
    """Have a call of the campaign tell what the rule stops it for."""
    body = {
        "event_type": "call_started",
        "call_id": f"bad-{secrets.token_hex(4)}",
        "to_number": number,
        "status": "ongoing",
        "custom_args_values": {"campaign_id": campaign, "bad": name},
    }
    headers = {"X-Webhook-Secret": SECRET}
    async with stage.http.post(f"{stage.url}/webhooks/{ACCOUNT}", json=body, headers=headers) as answer:
        assert answer.status == 200


async def the_order(stage: Stage, words: str, state: str) -> dict[str, Any]:
    def of_the_rule(body: dict[str, Any]) -> list[dict[str, Any]]:
        return [item for item in body["items"] if item["rule"] and words in item["scope_in_words"]]

    body = await stage.eventually(f"/stop-orders?account={ACCOUNT}&state={state}", lambda body: bool(of_the_rule(body)))
    (order,) = of_the_rule(body)
    return order


async def test_an_order_above_a_limit_stops_nothing_until_an_approver_says_so(stage: Stage) -> None:
    campaign, _ = await registered(stage, 30)
    await provoke(stage, "whole", campaign)
    order = await the_order(stage, campaign, "awaiting_approval")
    (held,) = order["changes"]
    assert held["what"] == "held"
    assert held["details"]["count"] >= 29  # the first call of a campaign rings
    assert held["details"]["limits"][0]["calls"] == 20
    assert order["counts"]["matched"] == 0

    mine = {"account": ACCOUNT, "scope": {"campaign_id": campaign}, "reason": "I know", "mode": "shadow"}
    assert (await stage.ask("POST", "/stop-orders", mine)).body["state"] == "in_force"  # an operator's is not held up

    path = f"/stop-orders/{order['order_id']}"
    assert (await stage.ask("POST", f"{path}/approve", {"reason": "r"}, role="operator")).status == 403
    approved = await stage.ask("POST", f"{path}/approve", {"reason": "it is broken"}, role="approver")
    assert approved.body["state"] == "in_force"
    assert approved.body["changes"][-1]["who"] == "the-approver"
    count = held["details"]["count"]
    await stage.eventually(path, lambda body: body["counts"]["confirmed"] == count)


async def test_an_order_within_the_limits_comes_into_force_and_says_what_was_consulted(stage: Stage) -> None:
    campaign, ids = await registered(stage, 5)
    number = (await stage.ask("GET", f"/calls/{ACCOUNT}/{ids[4]}")).body["number"]
    await provoke(stage, "one", campaign, number)
    order = await the_order(stage, f"number •••{number[-4:]}", "in_force")
    (admitted,) = order["changes"]
    assert (admitted["what"], admitted["who"]) == ("admitted", "guard")
    assert admitted["details"]["count"] == 1
    assert admitted["details"]["by_campaign"] == {campaign: 1}
    assert admitted["details"]["open"] >= 4
    assert [look["limit"] for look in admitted["details"]["limits"]] == ["per_rule"]
    await stage.eventually(f"/stop-orders/{order['order_id']}", lambda body: body["counts"]["confirmed"] == 1)


async def test_in_shadow_the_calls_are_recorded_and_the_order_says_that_it_would_have_waited(stage: Stage) -> None:
    campaign, _ = await registered(stage, 25)
    await provoke(stage, "looks", campaign)
    order = await the_order(stage, campaign, "in_force")
    (admitted,) = order["changes"]
    assert admitted["details"]["would_wait"] is True
    count = admitted["details"]["count"]
    await stage.eventually(f"/stop-orders/{order['order_id']}", lambda body: body["counts"]["shadow"] == count)


async def test_a_call_by_its_id_is_counted_without_asking_anybody(stage: Stage) -> None:
    campaign, _ = await registered(stage, 3)
    await provoke(stage, "single", campaign)
    order = await the_order(stage, "call bad-", "in_force")
    assert order["changes"][0]["details"]["count"] == 1


async def test_what_was_held_before_a_restart_is_still_held_and_can_be_rejected(
    kafka_servers: str, topic_prefix: str, tmp_path: Any
) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        settings = with_rules(stage.settings)
        async with running(settings):
            campaign, _ = await registered(stage, 30)
            await provoke(stage, "whole", campaign)
            order = await the_order(stage, campaign, "awaiting_approval")
        async with running(settings):
            again = await the_order(stage, campaign, "awaiting_approval")
            assert (again["order_id"], again["changes"]) == (order["order_id"], order["changes"])
            path = f"/stop-orders/{order['order_id']}"
            rejected = await stage.ask("POST", f"{path}/reject", {"reason": "no"}, role="approver")
            assert rejected.body["state"] == "rejected"
            await provoke(stage, "whole", campaign)
            await the_order(stage, campaign, "awaiting_approval")
            assert (await stage.ask("GET", f"{path}")).body["counts"]["matched"] == 0


async def test_an_order_that_goes_on_stopping_what_registers_waits_once_it_is_above_the_limit(stage: Stage) -> None:
    campaign, _ = await registered(stage, 3)
    await provoke(stage, "goes-on", campaign)
    order = await the_order(stage, campaign, "in_force")
    path = f"/stop-orders/{order['order_id']}"
    for n in range(30):
        details: dict[str, Any] = {
            "call_id": f"later-{n}-{secrets.token_hex(4)}",
            "status": "registered",
            "to_number": NUMBER,
        }
        details["custom_args_values"] = {"campaign_id": campaign}
        body = {"status": "success", "message": "Call Details", "data": details}
        headers = {"X-Webhook-Secret": SECRET}
        async with stage.http.post(f"{stage.url}/webhooks/{ACCOUNT}", json=body, headers=headers) as answer:
            assert answer.status == 200
    held = await stage.eventually(path, lambda body: body["state"] == "awaiting_approval")
    assert held["changes"][-1]["details"]["later"] is True
    assert "goes on stopping calls" in held["changes"][-1]["reason"]
