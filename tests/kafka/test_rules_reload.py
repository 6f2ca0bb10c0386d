"""Rules that change while the service runs: a whole service on real Kafka, and its configuration file."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.kafka.order_feed import control_record
from consumer.model.controls import RulesChanged
from consumer.model.orders import Author
from consumer.service import rules_file
from consumer.service.rules_file import ConfigurationFile
from consumer.service.service import Role, Service
from consumer.settings import HttpSettings, Settings
from consumer.settings.parts import filled
from tests.kafka.helpers import in_background, installed, until
from tests.kafka.service_stage import ACCOUNT, Stage, staged
from tests.kafka.test_limits import provoke, registered, rule, the_order

pytestmark = pytest.mark.kafka

PARTITIONS = {"call_events": 2, "scope_totals": 1, "terminations": 2, "rejected": 1}
"""Those of the stage."""


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_file, "EVERY_SECONDS", 0.2)


class File:
    """A configuration file with rules; everything else is the stage's."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    def write(self, *rules: dict[str, Any], **more: Any) -> None:
        self.path.write_text(yaml.safe_dump({"rules": list(rules), **more}))

    def read(self) -> Settings:
        parts = filled(yaml.safe_load(self.path.read_text()), os.environ)
        return self.settings.model_copy(
            update={"rules": parts.rules, "limits": parts.limits, "protected": parts.protected}
        )


@asynccontextmanager
async def started(file: File) -> AsyncIterator[Service]:
    """Run the service of a file."""
    configuration = ConfigurationFile.at(file.path, file.read)
    async with (
        Service(file.read(), frozenset(Role), configuration=configuration) as service,
        in_background(service.run()),
    ):
        await service.ready()
        yield service


@asynccontextmanager
async def at(servers: str, prefix: str, folder: Path) -> AsyncIterator[tuple[Stage, File]]:
    async with staged(servers, prefix, folder / "data") as stage:
        yield stage, File(folder / "callbreaker.yaml", stage.settings)


async def names(stage: Stage) -> list[tuple[str, str]]:
    return [(one["name"], one["mode"]) for one in (await stage.ask("GET", "/rules")).body["items"]]


async def test_a_changed_rule_is_taken_over_without_a_restart_and_its_orders_name_its_hash(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with at(kafka_servers, topic_prefix, tmp_path) as (stage, file):
        file.write(rule("one", "number"))
        async with started(file) as service:
            await until(lambda: service.feed.controls.rules is not None)
            first = service.feed.controls.rules
            assert first is not None
            assert (first.version, [one["name"] for one in first.parts["rules"]]) == (1, ["one"])
            campaign, ids = await registered(stage, 4)
            await provoke(stage, "whole", campaign)  # nobody listens to this yet

            file.write(rule("one", "number", "shadow"), rule("whole", "campaign"), limits={"per_rule": {"calls": 50}})
            await stage.eventually("/rules", lambda body: len(body["items"]) == 2)
            assert await names(stage) == [("one", "shadow"), ("whole", "enforce")]
            await provoke(stage, "whole", campaign)
            order = await the_order(stage, campaign, "in_force")
            (told,) = [one for one in (await stage.ask("GET", "/rules")).body["items"] if one["name"] == "whole"]
            assert (order["rule"]["hash"], order["rule"]["version"]) == (told["hash"], told["version"])
            assert order["changes"][0]["details"]["limits"][0]["calls"] == 50
            await stage.eventually(f"/calls/{ACCOUNT}/{ids[-1]}", lambda body: body["status"] == "cancelled")

        async with started(file) as service:  # the file is what was said last: nothing is said again
            assert service.feed.controls.rules is not None
            assert service.feed.controls.rules.version == 2


async def test_a_file_that_cannot_be_used_is_refused_loudly_and_the_old_rules_stay(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with at(kafka_servers, topic_prefix, tmp_path) as (stage, file):
        file.write(rule("one", "number"))
        async with started(file):
            await stage.eventually("/rules", lambda body: bool(body["items"]))
            with caplog.at_level(logging.ERROR):
                file.write({"name": "bad", "when": "true", "stop": {"scope": "nmber"}})
                alerts = (await stage.eventually("/alerts", lambda body: bool(body["items"])))["items"]
            assert alerts[0]["name"].startswith("rules-refused/")
            assert "stop" in alerts[0]["text"]
            assert "the old rules stay" in caplog.text
            assert await names(stage) == [("one", "enforce")]
            file.write(rule("two", "number"))
            await stage.eventually("/alerts", lambda body: not body["items"])
            assert await names(stage) == [("two", "enforce")]


async def test_a_secret_that_is_written_out_never_travels(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with at(kafka_servers, topic_prefix, tmp_path) as (stage, file):
        file.write({**rule("one", "number"), "params": {"api_token": "a-secret-value"}})
        with caplog.at_level(logging.WARNING):
            async with started(file) as service:
                await stage.eventually("/rules", lambda body: bool(body["items"]))
                await until(lambda: "cannot change while this runs" in caplog.text)
                assert service.feed.controls.rules is None
        assert "a-secret-value" not in caplog.text


async def test_another_process_takes_over_what_one_has_read(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with at(kafka_servers, topic_prefix, tmp_path) as (stage, file):
        file.write(rule("one", "number"))
        elsewhere = {"data_dir": tmp_path / "other", "http": HttpSettings(port=0)}
        other = file.settings.model_copy(update=elsewhere)
        async with (
            started(file) as service,
            Service(other, frozenset({Role.GUARD})) as second,
            in_background(second.run()),
        ):
            await until(lambda: second.feed.controls.rules is not None)
            assert second.feed.controls.rules == service.feed.controls.rules
            await until(lambda: bool(second.in_force.now.hash))
            assert [one.name for one in second.in_force.now.rules] == ["one"]
        assert stage.settings.rules == ()


async def test_a_process_that_cannot_take_a_change_over_keeps_its_rules_and_says_so(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with at(kafka_servers, topic_prefix, tmp_path) as (stage, file):
        file.write(rule("one", "number"))
        async with started(file) as service:
            await until(lambda: service.feed.controls.rules is not None)
            elsewhere = {"name": "there", "handler": "a_module_that_is_only_there:rule", "mode": "shadow"}
            told = RulesChanged("another", 2, {"rules": [elsewhere]}, Author("configuration", "another machine"))
            async with installed(kafka_servers, topic_prefix, **PARTITIONS) as log:
                with caplog.at_level(logging.ERROR):
                    await log.producer.publish(control_record(service.feed.topic, told))
                    alerts = (await stage.eventually("/alerts", lambda body: bool(body["items"])))["items"]
            assert alerts[0]["name"].startswith("rules-not-taken/")
            assert "a_module_that_is_only_there" in alerts[0]["text"]
            assert "the old ones stay" in caplog.text
            assert await names(stage) == [("one", "enforce")]
            file.write(rule("two", "number"))
            await stage.eventually("/alerts", lambda body: not body["items"])
            assert await names(stage) == [("two", "enforce")]


def signal_rule(name: str, secret: str) -> dict[str, Any]:
    """A rule whose secret is in the variable named ``secret``."""
    return {
        "name": name,
        "handler": "manual",
        "signal": {"auth": {"type": "bearer", "secret": f"${{{secret}}}"}},
        "mode": "shadow",
    }


async def signalled(stage: Stage, rule: str, secret: str, reason: str) -> int:
    """Post a signal; gives the answer's status."""
    body = {"account": ACCOUNT, "scope": {"agent_id": "agent-7"}, "reason": reason}
    headers = {"Authorization": f"Bearer {secret}"}
    async with stage.http.post(f"{stage.url}/signals/{rule}", json=body, headers=headers) as answer:
        return answer.status


async def test_signals_go_by_the_rules_in_force(
    kafka_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = "a-secret-of-the-first", "a-secret-of-the-second"
    monkeypatch.setenv("QA_FIRST", first)
    monkeypatch.setenv("QA_SECOND", second)
    async with at(kafka_servers, topic_prefix, tmp_path) as (stage, file):
        file.write(rule("one", "number"))
        async with started(file):
            assert await signalled(stage, "qa", first, "nobody listens yet") == 404
            file.write(signal_rule("qa", "QA_FIRST"))
            await stage.eventually("/rules", lambda body: [one["name"] for one in body["items"]] == ["qa"])
            assert await signalled(stage, "qa", first, "it is rude") == 200
            assert await signalled(stage, "qa", second, "it is rude") == 401
            await stage.eventually("/stop-orders", lambda body: [o["reason"] for o in body["items"]] == ["it is rude"])

            file.write(signal_rule("qa", "QA_SECOND"), signal_rule("another", "QA_FIRST"))
            await stage.eventually("/rules", lambda body: len(body["items"]) == 2)
            assert await signalled(stage, "qa", first, "an old secret") == 401
            assert await signalled(stage, "qa", second, "it lies") == 200

            file.write(rule("one", "number"))
            await stage.eventually("/rules", lambda body: [one["name"] for one in body["items"]] == ["one"])
            assert await signalled(stage, "qa", second, "too late") == 404
