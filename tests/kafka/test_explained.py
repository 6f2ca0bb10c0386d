"""Why a call was stopped or was not, asked of a whole service on real Kafka."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from consumer.settings import RuleSettings
from tests.end_to_end.command_line import call
from tests.kafka.service_stage import ACCOUNT, TOKENS, Stage, running, staged

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

SHADOW = {
    "name": "at-once",
    "when": 'event.status == "registered" && call.attempts_finished < params.tries',
    "params": {"tries": 1},
    "stop": {"scope": "call"},
    "reason": "any call that registers",
}
NEVER = {"name": "never", "when": 'event.type == "analysis" && event.analysis.angry', "stop": {"scope": "number"}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(kafka_servers, "explained.", tmp_path_factory.mktemp("explained")) as stage:
        rules = tuple(RuleSettings.model_validate(rule) for rule in (SHADOW, NEVER))
        async with running(stage.settings.model_copy(update={"rules": rules})):
            yield stage


async def test_a_decision_is_explained_by_its_rule_its_values_its_events_and_the_limits(stage: Stage) -> None:
    _, (call_id,) = await stage.campaign(1)
    told = await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda body: bool(body["terminations"]))
    (order,) = told["orders"]
    assert (order["rule"]["name"], order["mode"], order["scope"]) == ("at-once", "shadow", f"call {call_id}")
    assert order["explanation"]["expression"] == SHADOW["when"]
    assert order["explanation"]["values"]["event.status"] == "registered"
    (evidence,) = order["evidence"]
    assert evidence["event"]["call_id"] == call_id
    assert evidence["event"]["type"] == "queued"
    (admitted,) = order["changes"]
    assert (admitted["what"], admitted["who"]) == ("admitted", "guard")
    assert "limits" in admitted["details"]


async def test_why_a_call_was_not_stopped_says_it_of_every_order_and_every_rule(stage: Stage) -> None:
    _, ids = await stage.campaign(2)
    path = f"/calls/{ACCOUNT}/{ids[1]}"
    await stage.eventually(path, lambda body: bool(body["terminations"]))
    body = {"account": ACCOUNT, "scope": {"call_ids": [ids[1]]}, "reason": "by hand", "hold": "1h"}
    given = await stage.ask("POST", "/stop-orders", body | {"mode": "shadow"})
    await stage.eventually(path, lambda body: len(body["orders"]) == 2)
    why = await stage.eventually(f"{path}/why", lambda body: len(body["orders"]) == 2)
    assert not why["stopped"]
    assert {order["order_id"]: (order["stopped"], order["code"]) for order in why["orders"]}.items() >= {
        (given.body["order_id"], (False, "shadow"))
    }
    assert {order["code"] for order in why["orders"]} == {"shadow"}
    one, two = why["rules"]
    assert (one["rule"], one["asked"], one["matched"]) == ("at-once", 1, 1)
    assert one["answers"][0]["values"] == {
        "call.attempts_finished": 0,
        "event.status": "registered",
        "params.tries": 1,
    }
    assert (two["rule"], two["asked"], two["note"]) == ("never", 0, "it looks at analysis events, and there was none")
    assert why["whole_history"]


async def test_a_call_that_is_not_known_has_no_reasons(stage: Stage) -> None:
    answer = await stage.ask("GET", f"/calls/{ACCOUNT}/nobody/why")
    assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_explain_tells_all_of_it(stage: Stage, tmp_path: Path) -> None:
    _, (call_id,) = await stage.campaign(1)
    await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda body: bool(body["terminations"]))
    where = {"CALLBREAKER_URL": stage.url, "CALLBREAKER_TOKEN": TOKENS["viewer"]}
    done = await asyncio.to_thread(call, "explain", ACCOUNT, call_id, cwd=tmp_path, **where)
    assert done.returncode == 0, done.stderr
    for text in (
        "rule at-once 1 (",
        "with call.attempts_finished = 0, event.status = registered, params.tries = 1",
        "admitted by guard",
        "not stopped it was decided and only recorded: the order is in shadow",
        "at-once (shadow)  matched 1 of 1 events",
        "never (shadow)  it looks at analysis events, and there was none",
    ):
        assert text in done.stdout
