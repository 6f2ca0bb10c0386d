"""Calls are counted as they live, and those that wait outlive the topic's retention."""

from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumer.correlate import keep
from consumer.correlate.calls import Keeping
from consumer.correlate.shard import CorrelateShard
from consumer.guard.shard import GuardShard
from consumer.guard.sums import WindowTotals
from consumer.kafka.view import remove_view
from consumer.model import Call, Status
from consumer.model.codec import is_carried
from consumer.model.scopes import Scope
from tests.kafka.helpers import Installation, installed, until
from tests.kafka.joining_stage import ACCOUNT, Joining, joining

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

AT_ONCE = Keeping(carry_seconds=-3_600.0)


def totals_of(join: Joining, scope: str) -> WindowTotals:
    shard = join.guard.shards[0]
    assert isinstance(shard, GuardShard)
    return shard.sums.within(scope, 60, 2**40)


def call_of(join: Joining, call_id: str) -> Call | None:
    shard = join.correlate.shards[0]
    assert isinstance(shard, CorrelateShard)
    return shard.calls.get(ACCOUNT, call_id)


async def test_the_guard_knows_what_happened_in_a_campaign(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, joining(log, tmp_path) as join:
        for n in range(5):
            await join.event(f"call-{n}", campaign_id="counted", attempt=0)
        await join.event("call-0", Status.ONGOING, attempt=0, connected=True)
        await join.event("call-0", Status.COMPLETED, attempt=0, duration_seconds=12.5, cost=0.25)
        await join.event("call-1", Status.ONGOING, attempt=0)
        await join.event("call-1", Status.RETRY, attempt=0)
        wanted = {
            "queued": 5,
            "started": 2,
            "finished": 2,
            "completed": 1,
            "retried": 1,
            "connected": 1,
            "seconds": 12.5,
            "cost": 0.25,
        }
        for scope in (f"{ACCOUNT}/campaign/counted", f"{ACCOUNT}/account/"):
            await until(
                lambda scope=scope: (  # type: ignore[misc]
                    totals_of(join, scope).figures == wanted and totals_of(join, scope).open == 4
                )
            )


async def forget_records(log: Installation, before: int) -> None:
    """Let retention take the first records of the one partition of ``call-events``."""
    admin = AIOKafkaAdminClient(bootstrap_servers=log.connection.bootstrap_servers)
    await admin.start()
    try:
        partition = TopicPartition(log.topics.call_events.name, 0)
        await admin.delete_records({partition: RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def test_an_open_call_outlives_the_events_that_told_of_it(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "QUIET_SECONDS", 0.1)
    async with installed(kafka_servers, topic_prefix) as log:
        async with joining(log, tmp_path, keeping=AT_ONCE) as join:
            await join.event("patient", campaign_id="long", number="+15550004444", attempt=0)
            await join.event("done", Status.COMPLETED, campaign_id="long", attempt=0)
            await until(lambda: (call := call_of(join, "patient")) is not None and call.carried_at > 0)
            before = call_of(join, "patient")
        carried = [record for record in await log.read(log.topics.call_events) if is_carried(record.value)]
        assert {record.key for record in carried} == {f"{ACCOUNT}/patient".encode()}
        await forget_records(log, carried[0].offset)
        remove_view(tmp_path / "correlate" / "0.sqlite")
        async with joining(log, tmp_path) as join:
            assert call_of(join, "done") is None
            after = call_of(join, "patient")
            assert after is not None
            assert before is not None
            assert (after.progress, after.first_at, after.number) == (before.progress, before.first_at, before.number)
            await join.order(Scope.campaign("long"))
            await join.decided("patient")
