"""The lever, the modes of rules and alerts as tools see them: real HTTP to a whole service on real Kafka."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from consumer.correlate import lag
from consumer.kafka.order_feed import control_record
from consumer.kafka.producer import Producer
from consumer.model.controls import Alert
from consumer.service.service import Service
from consumer.settings import RuleSettings
from tests.kafka.helpers import in_background
from tests.kafka.service_stage import ACCOUNT, SECRET, Stage, running, staged
from tests.kafka.test_console_api import problem

pytestmark = pytest.mark.kafka

RULES = (
    RuleSettings.model_validate(
        {"name": "angry", "when": "event.type == 'analysis'", "stop": {"scope": "number"}, "mode": "shadow"}
    ),
    RuleSettings.model_validate(
        {
            "name": "failing",
            "when": "event.status == 'failed'",
            "stop": {"scope": "campaign"},
            "mode": "canary",
            "canary": {"share": 0.25},
        }
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def up(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stage, Service]]:
    prefix = f"a{secrets.token_hex(4)}."
    async with (
        staged(kafka_servers, prefix, tmp_path_factory.mktemp("controls")) as stage,
        running(stage.settings.model_copy(update={"rules": RULES})) as service,
    ):
        yield stage, service


@pytest.fixture(scope="module")
def stage(up: tuple[Stage, Service]) -> Stage:
    return up[0]


async def test_the_lever_is_pulled_and_released_by_operators_and_says_by_whom_and_why(stage: Stage) -> None:
    engaged = await stage.ask("PUT", "/safety-lever", {"engaged": True, "reason": "numbers look wrong"})
    assert engaged.status == 200
    shown = (await stage.ask("GET", "/safety-lever", role="viewer")).body
    assert engaged.body == shown
    assert (shown["engaged"], shown["reason"], shown["who"], shown["by"]) == (
        True,
        "numbers look wrong",
        "the-operator",
        "operator",
    )
    assert "callbreaker_safety_lever_engaged 1.0" in await metrics(stage)
    released = await stage.ask("PUT", "/safety-lever", {"engaged": False, "reason": "looked at"}, role="approver")
    assert (released.body["engaged"], released.body["who"]) == (False, "the-approver")
    assert released.body["at"] > shown["at"]


async def metrics(stage: Stage) -> str:
    async with stage.http.get(f"{stage.url}/metrics") as answer:
        return await answer.text()


async def test_the_lever_is_pulled_by_itself_where_events_are_folded_too_late_and_not_again_after_a_release(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "TOO_FAR_SECONDS", -1.0)  # whatever is folded is too late
    monkeypatch.setattr(lag, "SURE_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(lag, "EVERY_SECONDS", 0.2)
    body = {"event_type": "call_started", "to_number": "+4915112345678", "status": "ongoing"}
    headers = {"X-Webhook-Secret": SECRET}

    async def keep_calling() -> None:
        for n in count():
            call = body | {"call_id": f"late-{n}-{secrets.token_hex(4)}"}
            async with stage.http.post(f"{stage.url}/webhooks/{ACCOUNT}", json=call, headers=headers):
                await asyncio.sleep(0.05)

    async with in_background(keep_calling()):
        pulled = await stage.eventually("/safety-lever", lambda lever: lever["engaged"])
        assert (pulled["who"], pulled["by"]) == ("correlate", "correlate")
        assert "behind what happens" in pulled["reason"]
        released = await stage.ask("PUT", "/safety-lever", {"engaged": False, "reason": "it may"})
        assert released.body["engaged"] is False
        await asyncio.sleep(3 * lag.EVERY_SECONDS)
        assert (await stage.ask("GET", "/safety-lever")).body["who"] == "the-operator"


async def test_the_lever_needs_a_reason_and_the_role_operator(stage: Stage) -> None:
    problem(await stage.ask("PUT", "/safety-lever", {"engaged": True, "reason": "r"}, role="viewer"), 403)
    problem(await stage.ask("PUT", "/safety-lever", {"engaged": True, "reason": " "}), 422, "reason")
    problem(await stage.ask("PUT", "/safety-lever", {"reason": "r"}), 422, "engaged")


async def test_rules_show_the_mode_they_are_configured_with_and_the_one_they_are_in(stage: Stage) -> None:
    items = (await stage.ask("GET", "/rules", role="viewer")).body["items"]
    assert [(item["name"], item["mode"], item["configured_mode"]) for item in items] == [
        ("angry", "shadow", "shadow"),
        ("failing", "canary", "canary"),
    ]
    assert items[1]["canary_share"] == 0.25
    assert all(item["version"] and item["hash"] for item in items)
    assert [(item["failures"], item["suspended"]) for item in items] == [(0, []), (0, [])]

    path = "/rules/angry/mode"
    change = {"mode": "canary", "canary": {"share": 0.1, "campaigns": []}, "reason": "it did well in shadow"}
    row = (await stage.ask("PUT", path, change)).body
    assert (row["mode"], row["configured_mode"], row["canary_share"]) == ("canary", "shadow", 0.1)
    assert (row["set"]["who"], row["set"]["reason"]) == ("the-operator", "it did well in shadow")
    assert (await stage.ask("PUT", path, {"mode": "enforce", "reason": "good"})).body["mode"] == "enforce"
    back = (await stage.ask("PUT", path, {"mode": None, "reason": "as it was"})).body
    assert (back["mode"], back["set"]) == ("shadow", None)
    of_its_own = (await stage.ask("PUT", "/rules/failing/mode", {"mode": "canary", "reason": "again"})).body
    assert of_its_own["canary_share"] == 0.25


async def test_a_mode_that_cannot_be_meant_is_refused(stage: Stage) -> None:
    path = "/rules/angry/mode"
    problem(await stage.ask("PUT", path, {"mode": "canary", "reason": "r"}), 422, "canary")
    problem(await stage.ask("PUT", path, {"mode": "loud", "reason": "r"}), 422, "mode")
    problem(await stage.ask("PUT", path, {"reason": "r"}), 422, "mode")
    problem(await stage.ask("PUT", path, {"mode": "shadow"}), 422, "reason")
    problem(await stage.ask("PUT", "/rules/none/mode", {"mode": "shadow", "reason": "r"}), 404)
    problem(await stage.ask("PUT", path, {"mode": "shadow", "reason": "r"}, role="viewer"), 403)


async def test_alerts_are_listed_while_they_are_active(up: tuple[Stage, Service]) -> None:
    stage, service = up
    producer = Producer(service.feed._reader._connection)
    await producer.start()
    try:
        loud = Alert("silent/c1", "campaign c1 has gone silent", 1_000.0, by="guard")
        await producer.publish(control_record(service.feed.topic, loud))
        (item,) = (await stage.eventually("/alerts", lambda body: body["items"]))["items"]
        assert (item["name"], item["text"], item["by"]) == ("silent/c1", "campaign c1 has gone silent", "guard")
        assert item["since"] == "1970-01-01T00:16:40.000Z"
        over = Alert("silent/c1", "", 1_000.0, active=False)
        await producer.publish(control_record(service.feed.topic, over))
        await stage.eventually("/alerts", lambda body: not body["items"])
    finally:
        await producer.stop()
