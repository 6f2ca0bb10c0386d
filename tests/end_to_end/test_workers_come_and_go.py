"""Workers that join, leave, die and come back as zombies, while calls come in: nothing is lost, nothing is said twice.

The short form lets a session end after two seconds; CALLBREAKER_LONG_FAULTS=1 takes the session as it is, and more faults.
"""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import orjson
import pytest

from consumer.kafka import reader as reader_module
from consumer.kafka.order_feed import order_record
from consumer.kafka.producer import OutRecord
from consumer.model.codec import encode_event
from consumer.model.events import CallEvent
from consumer.model.identity import call_key, termination_id
from consumer.model.orders import Author, StopOrder
from consumer.model.scopes import Scope
from consumer.model.status import EventType, Status
from consumer.model.termination_codec import decode_termination_record
from consumer.model.terminations import Decision
from tests.end_to_end.service_process import ACCOUNT
from tests.end_to_end.worker_process import WorkerProcess, share
from tests.kafka.helpers import Installation, installed
from tests.patience import PATIENCE_SECONDS

LONG = bool(os.environ.get("CALLBREAKER_LONG_FAULTS"))
SESSION_MS = reader_module.SESSION_TIMEOUT_MS if LONG else 2_000
PARTITIONS = 6 if LONG else 4
ORDER = "order-of-the-test"

FETCHES_NO_MORE = """
from aiokafka import TopicPartition
from consumer.kafka import reader, watch, watchdog
opened = reader.GroupReader.open

def opened_and_paused(self, offsets):
    opened(self, offsets)
    self._client.pause(*[TopicPartition(*key) for key in offsets])

reader.GroupReader.open = opened_and_paused
watch.StallDetector = lambda: watchdog.StallDetector(2.0)
"""

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1_800 if LONG else 400)]


class Traffic:
    """Calls that register in a campaign that an operator has stopped: each is to be decided, once."""

    def __init__(self, log: Installation) -> None:
        self._log = log
        self._over = asyncio.Event()
        self.calls: list[str] = []

    async def run(self) -> None:
        scope = Scope.campaign("campaign-1")
        order = StopOrder(ORDER, ACCOUNT, scope, "why", Author("operator", "ops"), hold=None)
        await self._log.producer.publish(order_record(self._log.topics.stop_orders, order))
        topic = self._log.topics.call_events
        while not self._over.is_set():
            call_id = f"call-{len(self.calls)}"
            event = CallEvent(
                ACCOUNT, "ringg", call_id, call_id, EventType.QUEUED, Status.REGISTERED, campaign_id="campaign-1"
            )
            partition = self._log.topics.partition_of_call(ACCOUNT, call_id)
            key = call_key(ACCOUNT, call_id)
            await self._log.producer.publish(OutRecord(topic.name, partition, key, encode_event(event, b"{}")))
            self.calls.append(call_id)
            await asyncio.sleep(0.005)

    def end(self) -> None:
        self._over.set()


@asynccontextmanager
async def calls_coming_in(log: Installation) -> AsyncIterator[Traffic]:
    traffic = Traffic(log)
    task = asyncio.create_task(traffic.run())
    try:
        yield traffic
    finally:
        traffic.end()
        await task


async def decisions(log: Installation) -> dict[str, list[Decision]]:
    """What has been decided, by call."""
    found: dict[str, list[Decision]] = {}
    for record in await log.read(log.topics.terminations):
        said = decode_termination_record(record.value)
        if isinstance(said, Decision):
            found.setdefault(said.call_id, []).append(said)
    return found


async def all_decided(log: Installation, traffic: Traffic) -> dict[str, list[Decision]]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found := await decisions(log)) < len(traffic.calls):
            await asyncio.sleep(0.2)
    return found


def only_one_answer(decided: Mapping[str, list[Decision]], calls: list[str]) -> None:
    """Every call is decided; a decision that was written twice is the same twice."""
    assert set(decided) == set(calls)
    for call_id, said in decided.items():
        assert {(d.termination_id, d.episode, d.orders) for d in said} == {
            (termination_id(ACCOUNT, call_id, 0), 0, (ORDER,))
        }


async def views_are_folds_of_the_log(log: Installation, *workers: WorkerProcess) -> None:
    """Each view that lies about, of whomever, holds exactly the calls of its partition before its offset."""
    logged: dict[int, list[tuple[int, str]]] = {}
    for record in await log.read(log.topics.call_events):
        logged.setdefault(record.partition, []).append((record.offset, orjson.loads(record.value)["call_id"]))
    for path in (path for worker in workers for path in worker.views.glob("*.sqlite")):
        connection = sqlite3.connect(path)
        ((partition, following),) = connection.execute("SELECT partition, next FROM offsets").fetchall()
        (known,) = connection.execute("SELECT count(*) FROM calls").fetchone()
        connection.close()
        assert partition == int(path.stem)
        assert known == len({call_id for offset, call_id in logged[partition] if offset < following}), path


async def a_second_one_is_refused(worker: WorkerProcess) -> None:
    """Start another process with the data of a worker that runs."""
    first = worker.process
    await worker.start()
    assert first
    assert worker.process
    second, worker.process = worker.process, first
    assert await asyncio.wait_for(second.wait(), PATIENCE_SECONDS) == 1
    said = " ".join(worker.log.read_text().split())
    assert f"process {first.pid} runs correlate with the data in {worker.folder / 'data'} already" in said


async def test_killed_stopped_and_ended_workers_lose_no_call_and_get_their_partitions_back(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=PARTITIONS) as log, AsyncExitStack() as stack:
        one, two = (
            WorkerProcess(tmp_path / name, kafka_servers, topic_prefix, PARTITIONS, session_ms=SESSION_MS)
            for name in ("one", "two")
        )
        await stack.enter_async_context(one)
        await stack.enter_async_context(two)
        traffic = await stack.enter_async_context(calls_coming_in(log))
        _, of_two = await share(one, two, partitions=PARTITIONS)
        await a_second_one_is_refused(one)

        await two.end(signal.SIGKILL)
        await share(one, partitions=PARTITIONS)
        await two.start()
        assert (await share(one, two, partitions=PARTITIONS))[1] == of_two

        two.tell(signal.SIGSTOP)
        await share(one, partitions=PARTITIONS)
        two.tell(signal.SIGCONT)
        assert (await share(one, two, partitions=PARTITIONS))[1] == of_two
        assert "stood still for seconds" in two.log.read_text()

        assert await one.end(signal.SIGTERM) == 0
        await share(two, partitions=PARTITIONS)
        traffic.end()
        decided = await all_decided(log, traffic)
        assert await two.end(signal.SIGTERM) == 0
        only_one_answer(decided, traffic.calls)
        await views_are_folds_of_the_log(log, one, two)


async def test_worker_that_fetches_no_more_exits_with_an_error_that_says_where_it_stands(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(kafka_servers, topic_prefix, call_events=1) as log,
        WorkerProcess(
            tmp_path / "one", kafka_servers, topic_prefix, 1, session_ms=SESSION_MS, broken_by=FETCHES_NO_MORE
        ) as worker,
        calls_coming_in(log),
    ):
        assert worker.process
        assert await asyncio.wait_for(worker.process.wait(), PATIENCE_SECONDS) == 1
        said = " ".join(worker.log.read_text().split())
        assert f"correlate: {log.topics.call_events.name}/0 stands at 0, its end is " in said
        assert "it must start again" in said


async def many_faults_in_any_order_lose_no_call(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    chance = Random(5)
    async with installed(kafka_servers, topic_prefix, call_events=PARTITIONS) as log, AsyncExitStack() as stack:
        workers = [
            WorkerProcess(tmp_path / str(n), kafka_servers, topic_prefix, PARTITIONS, session_ms=SESSION_MS)
            for n in range(3)
        ]
        for worker in workers:
            await stack.enter_async_context(worker)
        traffic = await stack.enter_async_context(calls_coming_in(log))
        for _ in range(12):
            await share(*workers, partitions=PARTITIONS)
            worker = chance.choice(workers)
            match chance.choice(["kill", "end", "stop", "stop shortly"]):
                case "kill":
                    await worker.end(signal.SIGKILL)
                    await asyncio.sleep(chance.uniform(0, 12))
                    await worker.start()
                case "end":
                    assert await worker.end(signal.SIGTERM) == 0
                    await worker.start()
                case how:
                    worker.tell(signal.SIGSTOP)
                    await asyncio.sleep(chance.uniform(10, 25) if how == "stop" else chance.uniform(1, 9))
                    worker.tell(signal.SIGCONT)
        await share(*workers, partitions=PARTITIONS)
        traffic.end()
        decided = await all_decided(log, traffic)
        for worker in workers:
            assert await worker.end(signal.SIGTERM) == 0
        only_one_answer(decided, traffic.calls)
        await views_are_folds_of_the_log(log, *workers)


if LONG:
    test_many_faults_in_any_order_lose_no_call = many_faults_in_any_order_lose_no_call
