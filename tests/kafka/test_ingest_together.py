"""Webhooks that arrive together are read and written together, and nothing that befalls one befalls another."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from consumer.ingest import desk
from consumer.ingest.authenticate import NotAuthentic
from consumer.ingest.cloudevents import BATCH, CloudEventsIntake
from consumer.ingest.desk import Desk
from consumer.ingest.intake import Intake, Taken
from consumer.kafka.errors import Backpressure, LogUnavailable, RecordTooLarge
from consumer.kafka.producer import MAX_PENDING_BYTES, OutRecord, Producer
from consumer.model.accounts import Account
from consumer.model.events import CallEvent
from consumer.model.identity import call_key
from handlers.providers.ringg import Ringg
from tests.kafka.helpers import SECRET, Breakable, Installation, an_account, installed, noise, until
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

HEADERS = CIMultiDict({"X-Webhook-Secret": SECRET})
PARTITIONS = 3


class Faulty(Ringg):
    """An adapter with a bug."""

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        if body["call_id"] == "buggy":
            raise ZeroDivisionError
        return super().read_webhook(account, body, event_id)


class Counting(Producer):
    """Counts what is handed over to be written together."""

    groups: list[int]

    def publish_group(
        self, records: Sequence[OutRecord], *, within_seconds: float | None = None
    ) -> asyncio.Future[int]:
        self.groups.append(len(records))
        return super().publish_group(records, within_seconds=within_seconds)


class Stage:
    def __init__(self, log: Installation, producer: Counting) -> None:
        self.log = log
        self.producer = producer
        self.desk = Desk(producer)
        self.intake = Intake(an_account(), Faulty(), log.topics)

    def hand_in(self, call_id: str, secret: str = SECRET, **fields: object) -> asyncio.Future[Taken]:
        body = orjson.dumps({"event_type": "call_started", "call_id": call_id, **fields})
        return self.desk.hand_in(self.intake, CIMultiDict({"X-Webhook-Secret": secret}), body)

    async def kept(self) -> set[bytes]:
        return {record.key for record in await self.log.read(self.log.topics.call_events)}


@asynccontextmanager
async def staged(servers: str, prefix: str, max_pending_bytes: int = MAX_PENDING_BYTES) -> AsyncIterator[Stage]:
    async with installed(servers, prefix, call_events=PARTITIONS) as log:
        producer = Counting(log.connection, max_pending_bytes=max_pending_bytes)
        producer.groups = []
        await producer.start()
        try:
            yield Stage(log, producer)
        finally:
            await producer.stop()


def keys(*call_ids: str) -> set[bytes]:
    return {call_key("acme", call_id) for call_id in call_ids}


async def test_what_arrives_in_one_turn_is_one_group_for_each_partition(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "TURN_SECONDS", 10.0)
    async with staged(kafka_servers, topic_prefix) as it:
        names = [f"call-{n}" for n in range(60)]
        taken = await asyncio.gather(*[it.hand_in(name) for name in names])
        assert sum(it.producer.groups) == len(names)
        assert len(it.producer.groups) == PARTITIONS
        assert await it.kept() == keys(*names)
        assert [one.records[0].key for one in taken] == [call_key("acme", name) for name in names]


async def test_a_bug_or_a_wrong_secret_or_a_sender_that_left_takes_nobody_along(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with staged(kafka_servers, topic_prefix) as it:
        left_before = it.hand_in("left before")
        left_before.cancel()
        waiting = [it.hand_in("first"), it.hand_in("buggy"), it.hand_in("forged", secret="wrong"), it.hand_in("last")]
        left = it.hand_in("left while it was written")
        await until(lambda: bool(it.producer.groups))
        left.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [Taken, ZeroDivisionError, NotAuthentic, Taken]
        assert await it.kept() - keys("left while it was written") == keys("first", "last")


async def test_a_record_that_kafka_refuses_fails_alone(kafka_servers: str, topic_prefix: str) -> None:
    async with staged(kafka_servers, topic_prefix) as it:
        names = [f"call-{n}" for n in range(12)]
        waiting = [it.hand_in(name) for name in names]
        too_large = it.hand_in("too large", filler=noise(1_500_000))
        results = await asyncio.gather(*waiting, too_large, return_exceptions=True)
        assert [type(result) for result in results] == [Taken] * len(names) + [RecordTooLarge]
        assert await it.kept() == keys(*names)


async def test_what_has_no_room_is_refused_and_what_comes_later_is_taken(kafka_servers: str, topic_prefix: str) -> None:
    async with staged(kafka_servers, topic_prefix, max_pending_bytes=20_000) as it:
        waiting = [it.hand_in(f"call-{n}", filler="x" * 1_000) for n in range(60)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} >= {Backpressure}
        assert isinstance(await it.hand_in("later"), Taken)
        taken = [f"call-{n}" for n, result in enumerate(results) if isinstance(result, Taken)]
        assert await it.kept() == keys(*taken, "later")


async def test_a_long_queue_lets_others_have_their_turn(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "TURN_SECONDS", 0.0)
    async with staged(kafka_servers, topic_prefix) as it:
        waiting = [it.hand_in(f"call-{n}") for n in range(10)]
        seen: list[int] = []
        while len(it.producer.groups) < len(waiting):
            await asyncio.sleep(0)
            seen.append(len(it.producer.groups))
        assert seen == list(range(1, len(waiting) + 1))
        await asyncio.gather(*waiting)


async def test_a_webhook_is_taken_when_the_last_of_its_records_is_acknowledged(
    breakable_kafka: Breakable, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ACK_SECONDS", 0.5)
    async with staged(breakable_kafka.servers, topic_prefix) as it:
        account = an_account(webhook={"auth": it.intake.account.webhook.auth.model_dump(), "format": "cloudevents"})
        intake = CloudEventsIntake(account, Ringg(), it.log.topics)
        attributes = {"specversion": "1.0", "source": "/dialler", "type": "ai.ringg.call"}
        events = [
            attributes | {"id": str(n), "data": {"event_type": "call_started", "call_id": f"call-{n}"}}
            for n in range(12)
        ]
        batch, empty = orjson.dumps(events), orjson.dumps([])
        headers = CIMultiDict(HEADERS, **{"Content-Type": BATCH})
        assert (await it.desk.hand_in(intake, headers, empty)).records == ()
        with breakable_kafka.paused(), pytest.raises(LogUnavailable):
            await it.desk.hand_in(intake, headers, batch)
        monkeypatch.setattr(desk, "ACK_SECONDS", PATIENCE_SECONDS)
        taken = await it.desk.hand_in(intake, headers, batch)
        assert len(taken.records) == len(events)
        assert await it.kept() == keys(*[f"call-{n}" for n in range(12)])
