"""A backtest over the topics of a whole service whose rules count: over totals, over several matches, against limits."""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.backtest.run import over_log
from consumer.backtest.tally import Tally
from consumer.commands.trial import plan_of_trial
from consumer.kafka.span import open_span
from consumer.kafka.topics import Topic
from consumer.model.codec import encode_order
from consumer.model.orders import StopOrder
from consumer.model.termination_codec import encode_termination_record
from consumer.service.assembly import connection_of, topics_of
from consumer.settings import Settings
from tests.end_to_end.command_line import call
from tests.kafka.service_stage import ACCOUNT, SECRET, Stage, running, staged

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

RULES = [
    {
        "name": "failing",
        "over": {"scope": "campaign", "window": "10m", "at_least": 3},
        "when": "totals.failed > 0.5 * totals.finished && totals.sums.spent >= 0",
        "measures": {"spent": "event.cost"},
        "stop": {"scope": "campaign"},
    },
    {
        "name": "tried-twice",
        "when": 'event.status == "retry" && call.number != null',
        "stop": {"scope": "number", "hold": "1h"},
        "throttle": {"matches": {"count": 2, "within": "10m"}},
    },
    {"name": "all-of-it", "when": "event.args.all_of_it", "stop": {"scope": "campaign"}},
]
QA_SECRET = "a-secret-of-the-qa-tool"
STEERED = [
    {"name": "angry", "when": "event.args.angry && call.campaign_id != null", "stop": {"scope": "campaign"}},
    {"name": "qa", "handler": "manual", "signal": {"auth": {"type": "bearer", "secret": QA_SECRET}}},
]
LIMITS = {"per_rule": {"calls": 2, "share": 1.0, "within": "1h"}}


class Sender:
    """Sends Ringg's webhooks to the service, one after the other."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def registered(self, call_id: str, number: str, campaign: str) -> None:
        arguments = {"campaign_id": campaign}
        data = {"call_id": call_id, "status": "registered", "to_number": number, "retry": 0}
        await self._send({"data": {**data, "custom_args_values": arguments}})

    async def ended(self, call_id: str, number: str, status: str, **more: Any) -> None:
        body = {"event_type": "call_completed", "call_id": call_id, "to_number": number, "status": status}
        await self._send({**body, "retry_count": 0, "call_cost": 0.1, **more})

    async def _send(self, body: dict[str, Any]) -> None:
        url = f"{self._stage.url}/webhooks/{ACCOUNT}"
        async with self._stage.http.post(url, json=body, headers={"X-Webhook-Secret": SECRET}) as answer:
            assert answer.status == 200


async def play(stage: Stage) -> None:
    """Let every rule come to its order, one after the other, and have each decide on calls that wait and that come."""
    send = Sender(stage)
    for n in range(7):
        await send.registered(f"f-{n}", f"+1555000300{n}", "failing-one")
    for n in range(3):
        await send.ended(f"f-{n}", f"+1555000300{n}", "failed")
    await _order_of(stage, "failing")
    for n in range(3, 7):
        await _decided(stage, f"f-{n}")
    await send.registered("t-1", "+15550004000", "another")
    await send.registered("t-2", "+15550004000", "another")
    for call_id in ("t-1", "t-2"):
        await send.ended(call_id, "+15550004000", "retry")
    await _order_of(stage, "tried-twice")
    for call_id in ("t-1", "t-2"):
        await _decided(stage, call_id)
    await send.registered("t-3", "+15550004000", "another")
    await _decided(stage, "t-3")
    await send.ended("f-4", "+15550003004", "completed", custom_args_values={"all_of_it": True})
    await _order_of(stage, "all-of-it")
    for n in (3, 5, 6):
        await _decided(stage, f"f-{n}", times=2)


async def _order_of(stage: Stage, rule: str) -> None:
    def is_there(body: Any) -> bool:
        return any(order["rule"] and order["rule"]["name"] == rule for order in body["items"])

    await stage.eventually("/stop-orders", is_there)


async def _decided(stage: Stage, call_id: str, times: int = 1) -> None:
    path = f"/calls/{ACCOUNT}/{call_id}"
    await stage.eventually(path, lambda body: len({o for t in body["terminations"] for o in t["orders"]}) == times)


async def recorded(settings: Settings, topic: Topic) -> list[dict[str, Any]]:
    """Everything in a topic, as JSON."""
    assert settings.kafka.bootstrap_servers is not None
    connection = connection_of(settings, settings.kafka.bootstrap_servers)
    async with open_span(connection, topic, name="test") as span:
        return [orjson.loads(value or b"{}") async for batch in span.batches() for *_, value in batch]


async def tried(settings: Settings) -> tuple[Tally, list[dict[str, Any]]]:
    """Run the configured rules over what the service has recorded."""
    made: list[dict[str, Any]] = []
    plan = plan_of_trial(settings).with_witness(
        lambda one: made.append(
            orjson.loads(encode_order(one) if isinstance(one, StopOrder) else encode_termination_record(one))
        )
    )
    assert settings.kafka.bootstrap_servers is not None
    connection = connection_of(settings, settings.kafka.bootstrap_servers)
    done = await over_log(plan, connection, topics_of(settings), until=None, on_progress=lambda *_: None)
    return done.tally, made


def orders(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = {rule["name"] for rule in (*RULES, *STEERED)}
    return {r["order_id"]: r for r in records if r.get("kind") == "order" and r["by"]["name"] in names}


def decisions(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [r | {"decided_at": 0.0} for r in records if r.get("kind") == "stop"]
    return sorted(found, key=orjson.dumps)


async def test_rules_that_count_make_the_same_orders_and_decisions_as_in_shadow(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        changed = Settings.model_validate({"rules": RULES, "limits": LIMITS})
        settings = stage.settings.model_copy(update={"rules": changed.rules, "limits": changed.limits})
        async with running(settings):
            await play(stage)
        topics = topics_of(settings)
        live = orders(await recorded(settings, topics.stop_orders))
        decided = decisions(await recorded(settings, topics.terminations))
        tally, made = await tried(settings)
        renamed = tuple(rule.model_copy(update={"name": f"{rule.name}-anew"}) for rule in settings.rules)
        anew, _ = await tried(settings.model_copy(update={"rules": renamed}))
    assert len(live) == 3
    assert orders(made) == live
    assert decisions(made) == decided
    came_to = {name: (one.orders, one.held, one.stopped) for name, one in tally.rules.items()}
    assert came_to == {"failing": (1, 1, 4), "tried-twice": (1, 0, 3), "all-of-it": (1, 1, 3)}
    by_itself = {name.removesuffix("-anew"): (one.orders, one.held) for name, one in anew.rules.items()}
    assert by_itself == {name: (made_orders, held) for name, (made_orders, held, _) in came_to.items()}


async def steer(stage: Stage) -> None:
    """Set a rule's mode twice while calls come in, and send a signal twice."""
    send = Sender(stage)

    async def angry(call_id: str, campaign: str) -> None:
        await send.registered(call_id, "+15550005000", campaign)
        await send.ended(call_id, "+15550005000", "retry", custom_args_values={"angry": True, "campaign_id": campaign})
        await _decided(stage, call_id)

    await angry("as-written", "a")
    canary = {"mode": "canary", "canary": {"campaigns": ["of-nobody"]}, "reason": "a try"}
    assert (await stage.ask("PUT", "/rules/angry/mode", canary, role="approver")).status == 200
    await angry("in-canary", "b")
    told = {"mode": None, "reason": "that was enough"}
    assert (await stage.ask("PUT", "/rules/angry/mode", told, role="approver")).status == 200
    await angry("as-written-again", "c")
    await send.registered("signalled", "+15550005001", "d")
    await stage.eventually(f"/calls/{ACCOUNT}/signalled", lambda _: True)
    body = {"account": ACCOUNT, "scope": {"campaign_id": "d"}, "reason": "it quotes old prices"}
    for _ in range(2):
        headers = {"Authorization": f"Bearer {QA_SECRET}"}
        async with stage.http.post(f"{stage.url}/signals/qa", json=body, headers=headers) as answer:
            assert answer.status == 200
    await _decided(stage, "signalled")


async def test_modes_set_at_run_time_and_signals_count_as_they_did(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        settings = stage.settings.model_copy(update={"rules": Settings.model_validate({"rules": STEERED}).rules})
        async with running(settings):
            await steer(stage)
        topics = topics_of(settings)
        live = orders(await recorded(settings, topics.stop_orders))
        decided = decisions(await recorded(settings, topics.terminations))
        tally, made = await tried(settings)
        angry, qa = settings.rules
        changed = angry.model_copy(update={"when": f"({angry.when})"})
        _, anew = await tried(settings.model_copy(update={"rules": (changed, qa)}))
    modes = sorted((one["by"]["name"], one["mode"]) for one in live.values())
    assert modes == [("angry", "canary"), ("angry", "shadow"), ("angry", "shadow"), ("qa", "shadow")]
    assert orders(made) == live
    assert decisions(made) == decided
    assert {name: one.stopped for name, one in tally.rules.items()} == {"angry": 3, "qa": 1}
    assert [one["mode"] for one in orders(anew).values()] == ["shadow"] * 4  # no such rule ran: as it is written


async def test_the_command_reads_what_kafka_has_recorded(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        async with running(stage.settings):
            began = time.time()
            _, others = await stage.campaign(3)
            _, ids = await stage.campaign(2)
            for call_id in (*others, *ids):
                await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda _: True)
        (tmp_path / "rules.yaml").write_text(
            "rules: [{name: all, when: event.status == 'registered', stop: {scope: call}}]"
        )
        kafka = stage.settings.kafka.model_dump(
            mode="json", include={"topic_prefix", "partitions", "replication_factor"}
        )
        (tmp_path / "callbreaker.yaml").write_text(
            json.dumps({"kafka": {**kafka, "bootstrap_servers": kafka_servers}, "data_dir": str(tmp_path)})
        )
        told = [
            json.loads((await asked(tmp_path, "--from", since, "--expect", f"all.stopped=={count}")).stdout)
            for since, count in (("1h", 5), (f"{began + 3600:.3f}", 0))
        ]
    assert [one["rules"][0]["stopped"] for one in told] == [5, 0]
    assert [(one["events"] > 0, one["warmed_up"] > 0) for one in told] == [(True, False), (False, True)]


async def asked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = await asyncio.to_thread(call, "backtest", "--rules", "rules.yaml", *arguments, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done
