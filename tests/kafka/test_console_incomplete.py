"""While the console reads back what became of the terminations, its answers say that they are not everything yet."""

import asyncio
from pathlib import Path

import pytest

from consumer.client import OperatorApi
from consumer.kafka.topic_reader import TopicReader
from consumer.service.service import Role, Service
from tests.kafka.service_stage import ACCOUNT, TOKENS, Stage, running, staged

pytestmark = pytest.mark.kafka

CALLS = 12


async def stop_a_campaign(stage: Stage) -> tuple[str, str]:
    """Stop every call of a campaign; gives the order's id and a call of it."""
    campaign_id, ids = await stage.campaign(CALLS)
    for call_id in ids:
        await stage.eventually(f"/calls/{ACCOUNT}/{call_id}", lambda _: True)
    body = {"account": ACCOUNT, "scope": {"campaign_id": campaign_id}, "reason": "because", "mode": "shadow"}
    order_id = (await stage.ask("POST", "/stop-orders", body)).body["order_id"]
    await stage.eventually(f"/stop-orders/{order_id}", lambda told: told["counts"]["matched"] >= CALLS - 1)
    return order_id, ids[-1]


async def test_what_is_not_read_back_yet_is_said_in_every_answer_made_from_it(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        async with running(stage.settings):
            order_id, call_id = await stop_a_campaign(stage)
            matched = (await stage.ask("GET", f"/stop-orders/{order_id}")).body["counts"]["matched"]
        for file in (tmp_path / "views").glob("console*"):
            file.unlink()
        poll, may_read = TopicReader.poll, asyncio.Event()

        async def held_up(reader: TopicReader, *, max_records: int, timeout_ms: int) -> object:
            await may_read.wait()
            return await poll(reader, max_records=max_records, timeout_ms=timeout_ms)

        monkeypatch.setattr(TopicReader, "poll", held_up)
        async with Service(stage.settings, frozenset(Role)) as service:
            work = asyncio.create_task(service.run())
            try:
                paths = ("/terminations", "/stop-orders", f"/stop-orders/{order_id}", f"/calls/{ACCOUNT}/{call_id}")
                for path in (*paths, f"/calls/{ACCOUNT}/{call_id}/why"):
                    await stage.eventually(path, lambda told: "records to go" in (told["incomplete"] or ""))
                api = OperatorApi(stage.url, TOKENS["viewer"])
                assert (await asyncio.to_thread(api.listed, "terminations", limit=5))["items"] == []
                assert api.incomplete
                may_read.set()
                whole = await stage.eventually("/terminations", lambda told: told["incomplete"] is None)
                assert len(whole["items"]) == matched
            finally:
                may_read.set()
                service.end()
                await work
