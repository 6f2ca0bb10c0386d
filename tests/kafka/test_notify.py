"""Notices as somebody receives them: a whole service on real Kafka, and a real HTTP server that is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from consumer.guard import notices, notify
from consumer.settings import Settings
from consumer.settings.notify import NotifySettings
from tests.kafka.helpers import until
from tests.kafka.service_stage import Stage, running, staged
from tests.kafka.test_limits import provoke, registered, the_order, with_rules
from tests.ports import free_port

pytestmark = pytest.mark.kafka

SECRET = "the-secret-of-the-receiver"


@dataclass
class Receiver:
    """Takes notices; ``answers`` are the next statuses, 200 after them."""

    port: int
    answers: list[int] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    elsewhere: int = 0

    async def take(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {SECRET}"
        status = self.answers.pop(0) if self.answers else 200
        if status >= 300:
            self.refused += 1
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        self.taken.append(await request.json())
        return web.Response(status=status)

    async def no(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()

    def kinds(self) -> list[str]:
        return [notice["kind"] for notice in self.taken]


@asynccontextmanager
async def receiving(*answers: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(free_port(), list(answers))
    application = web.Application()
    application.add_routes([web.post("/hook", receiver.take), web.route("*", "/elsewhere", receiver.no)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver.port).start()
    try:
        yield receiver
    finally:
        await runner.cleanup()


def telling(stage: Stage, receiver: Receiver) -> Settings:
    auth = {"type": "bearer", "secret": SECRET}
    notify = NotifySettings.model_validate({"url": f"http://127.0.0.1:{receiver.port}/hook", "auth": auth})
    return with_rules(stage.settings).model_copy(update={"notify": notify})


async def test_what_waits_and_the_lever_are_told_once_also_across_a_restart(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "BACKOFF_SECONDS", (0.2,))
    monkeypatch.setattr(notify, "EVERY_SECONDS", 0.2)
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage, receiving(500, 302) as receiver:
        settings = telling(stage, receiver)
        async with running(settings):
            campaign, _ = await registered(stage, 30)
            await provoke(stage, "whole", campaign)
            order = await the_order(stage, campaign, "awaiting_approval")
            await until(lambda: bool(receiver.taken))
            (notice,) = receiver.taken
            assert (notice["kind"], notice["order_id"]) == ("awaiting_approval", order["order_id"])
            assert notice["count"] == order["changes"][0]["details"]["count"]
            assert (receiver.refused, receiver.elsewhere) == (2, 0)  # tried again, no redirect followed
            await stage.ask("PUT", "/safety-lever", {"engaged": True, "reason": "looks wrong"})
            await until(lambda: len(receiver.taken) == 2)
            assert "the-operator: looks wrong" in receiver.taken[1]["text"]
        async with running(settings):
            await stage.ask("PUT", "/safety-lever", {"engaged": False, "reason": "is right"})
            await until(lambda: len(receiver.taken) == 3)
        assert receiver.kinds() == ["awaiting_approval", "safety_lever_engaged", "safety_lever_released"]


async def test_a_receiver_that_is_away_holds_nothing_up(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        nobody = Receiver(free_port())
        async with running(telling(stage, nobody)):
            campaign, _ = await registered(stage, 30)
            await provoke(stage, "whole", campaign)
            order = await the_order(stage, campaign, "awaiting_approval")
            path = f"/stop-orders/{order['order_id']}"
            approved = await stage.ask("POST", f"{path}/approve", {"reason": "yes"}, role="approver")
            assert approved.body["state"] == "in_force"
            count = order["changes"][0]["details"]["count"]
            await stage.eventually(path, lambda body: body["counts"]["confirmed"] == count)
