"""What the producer does about each thing that makes a client of aiokafka 0.14 unfit to go on."""

import asyncio
import re
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownProducerId,
)
from aiokafka.producer.message_accumulator import BatchBuilder

import consumer
from consumer.kafka.producer import Producer
from tests.kafka.helpers import Installation, installed, text
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


async def values(log: Installation) -> list[str]:
    return [record.value.decode() for record in await log.read(log.topics.call_events)]


@pytest.mark.parametrize(
    "error",
    [
        OutOfOrderSequenceNumber(),
        UnknownProducerId(),
        InvalidProducerEpoch(),
        ProducerFenced(),
        TopicAuthorizationFailedError("for now"),
        KafkaError("Unexpected error during batch delivery"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_fatal_answer_brings_a_new_client_and_what_is_unacknowledged_is_sent_again_in_order(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, error: KafkaError
) -> None:
    send_batch = AIOKafkaProducer.send_batch
    refused: list[AIOKafkaProducer] = []

    async def refusing(
        client: AIOKafkaProducer, batch: BatchBuilder, topic: str, *, partition: int
    ) -> asyncio.Future[object]:
        if refused and client is not refused[0]:
            return await send_batch(client, batch, topic, partition=partition)  # type: ignore[no-any-return]
        refused.append(client)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        answer.set_exception(error)
        return answer

    async with installed(kafka_servers, topic_prefix) as log:
        monkeypatch.setattr(AIOKafkaProducer, "send_batch", refusing)
        written = [log.producer.publish(text(log.topics.call_events, 0, str(n))) for n in range(20)]
        assert await asyncio.wait_for(asyncio.gather(*written), PATIENCE_SECONDS) == list(range(20))
        assert log.producer.replacements == 1
        assert not log.producer.failing
        assert await values(log) == [str(n) for n in range(20)]


async def test_client_whose_background_task_has_died_is_replaced(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        producer = Producer(log.connection, stuck_seconds=1.0)
        await producer.start()
        await producer.publish(text(log.topics.call_events, 0, "before"))
        assert producer._client
        sender = producer._client._sender._sender_task
        sender.cancel()
        await asyncio.wait([sender])
        await asyncio.wait_for(producer.publish(text(log.topics.call_events, 0, "after")), PATIENCE_SECONDS)
        assert producer.replacements >= 1
        await producer.stop()
        assert list(dict.fromkeys(await values(log))) == ["before", "after"]


async def test_sequence_number_that_runs_over_is_healed(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        assert log.producer._client
        tp = TopicPartition(log.topics.call_events.name, 0)
        log.producer._client._txn_manager._sequence_numbers[tp] = 2**31 - 3
        wanted = [str(n) for n in range(10)]
        for value in wanted:
            await asyncio.wait_for(log.producer.publish(text(log.topics.call_events, 0, value)), PATIENCE_SECONDS)
        assert log.producer.replacements >= 1
        assert list(dict.fromkeys(await values(log))) == wanted


def test_every_role_writes_through_this_one_producer() -> None:
    package = Path(consumer.__file__).parent
    importing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"\bAIOKafkaProducer\b", path.read_text())
    }
    ours = {"kafka/producer.py", "kafka/producer_client.py"}
    assert importing - {"kafka/embedded_aot.py"} == ours, "that one warms up a broker that holds nothing"
