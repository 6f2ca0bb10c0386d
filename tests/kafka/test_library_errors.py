"""Every error that aiokafka can raise comes out of ``consumer.kafka`` as one of ours, at every border."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import BatchBuilder

from consumer.kafka import consumer_client as client_module
from consumer.kafka import reader as reader_module
from consumer.kafka import topics as topics_module
from consumer.kafka import translate
from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogError, LogUnavailable, RecordTooLarge, Refused
from consumer.kafka.reader import GroupReader, TopicReader, fetch_records
from consumer.kafka.topics import ensure_topics
from tests.kafka.helpers import installed, text, until
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


def family(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for child in error.__subclasses__():
        yield from family(child)


ALL = sorted(set(family(errors.KafkaError)), key=lambda error: error.__name__)
LANES = 16
DELIBERATELY_FATAL = {*translate.NOT_ALLOWED, *translate.NOT_POSSIBLE}
RETRIED_THEREFORE = {error for error in ALL if getattr(error, "retriable", False)}


class Border:
    """A call of ours, and the call of aiokafka that it makes."""

    def __init__(self, call: Callable[[], Awaitable[object]], library: object, name: str) -> None:
        self.call = call
        self._library = library
        self._name = name

    async def outcome(self, patch: pytest.MonkeyPatch, error: type[Exception]) -> BaseException | None:
        async def fails(*_: object, **__: object) -> None:
            raise error

        with patch.context() as patched:
            patched.setattr(self._library, self._name, fails)
            try:
                await self.call()
            except Exception as raised:  # noqa: BLE001 -- whichever it is, is the question
                return raised
        return None


def test_what_is_fatal_is_nothing_that_the_library_would_try_again() -> None:
    assert not DELIBERATELY_FATAL & RETRIED_THEREFORE
    assert set(ALL) >= DELIBERATELY_FATAL


async def test_every_error_of_the_readers_is_translated(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        name = log.topics.call_events.name
        group = GroupReader(log.connection, group="g", topics=[name], node="n", held=list)
        alone = TopicReader(log.connection, name="alone", partitions={name: 1})
        await group.start()
        await alone.start()
        try:
            await until(lambda: group.joined)
            group.open({(name, 0): 0})
            alone.seek({})
            for reader in (group, alone):  # a question would wait for the fetch that is on its way
                reader._client.pause(TopicPartition(name, 0))
            borders = [
                Border(lambda: group.poll(max_records=1, timeout_ms=1_000), client_module, "wait_for_fetched"),
                Border(lambda: group.committed(name, [0]), GroupCoordinator, "fetch_committed_offsets"),
                Border(lambda: group.ends([0]), AIOKafkaConsumer, "beginning_offsets"),
                Border(lambda: group.bounds([(name, 0)]), AIOKafkaConsumer, "beginning_offsets"),
                Border(lambda: group.end(name, 0), AIOKafkaConsumer, "end_offsets"),
                Border(lambda: group.topic_ids([name]), client_module, "topic_ids"),
                Border(lambda: alone.poll(max_records=1, timeout_ms=1_000), client_module, "wait_for_fetched"),
                Border(alone.bounds, AIOKafkaConsumer, "beginning_offsets"),
                Border(lambda: alone.some_bounds([(name, 0)]), AIOKafkaConsumer, "beginning_offsets"),
                Border(alone.topic_ids, client_module, "topic_ids"),
            ]
            for border in borders:
                for error in ALL:
                    raised = await border.outcome(monkeypatch, error)
                    wanted = Refused if issubclass(error, tuple(DELIBERATELY_FATAL)) else LogUnavailable
                    assert type(raised) is wanted, (error, raised)
            commit = Border(lambda: group.commit({(name, 0): 1}), GroupCoordinator, "_do_commit_offsets")
            for error in ALL:
                fatal = issubclass(error, tuple(DELIBERATELY_FATAL))
                monkeypatch.setattr(reader_module, "COMMIT_SECONDS", PATIENCE_SECONDS if fatal else 0.01)
                raised = await commit.outcome(monkeypatch, error)
                assert (type(raised) is Refused) if fatal else (raised is None), (error, raised)
            assert await group.committed(name, [0]) == {}
            gone = Border(lambda: group.position(name, 0), AIOKafkaConsumer, "position")
            assert await gone.outcome(monkeypatch, errors.IllegalStateError) is None
        finally:
            await group.stop()
            await alone.stop()


async def test_every_error_while_single_records_are_read_is_translated(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        name = log.topics.call_events.name
        await log.producer.publish(text(log.topics.call_events, 0, "x"))
        border = Border(lambda: fetch_records(log.connection, name, 0, [0]), AIOKafkaConsumer, "getone")
        for error in (errors.KafkaError, errors.KafkaTimeoutError, errors.TopicAuthorizationFailedError):
            assert isinstance(await border.outcome(monkeypatch, error), LogError)


async def test_every_error_while_topics_are_made_is_translated(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:

        async def said(_: Connection, error: Exception) -> LogUnavailable:
            return LogUnavailable(repr(error))

        monkeypatch.setattr(
            topics_module, "unreachable", said
        )  # finding out why takes seconds, and is tested elsewhere
        for name in ("start", "list_topics"):
            border = Border(lambda: ensure_topics(log.connection, log.topics), AIOKafkaAdminClient, name)
            for error in ALL:
                assert isinstance(await border.outcome(monkeypatch, error), LogError), error


async def test_every_error_of_the_producer_is_tried_again_but_for_a_record_too_large(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=LANES) as log:
        topic = log.topics.call_events
        send_batch = AIOKafkaProducer.send_batch
        to_come: dict[int, type[Exception]] = {}

        async def failing_once(
            client: AIOKafkaProducer, batch: BatchBuilder, to: str, *, partition: int
        ) -> asyncio.Future[object]:
            if partition in to_come:
                raise to_come.pop(partition)
            return await send_batch(client, batch, to, partition=partition)  # type: ignore[no-any-return]

        monkeypatch.setattr(AIOKafkaProducer, "send_batch", failing_once)
        refused: list[type[Exception]] = []
        for first in range(0, len(ALL), LANES):
            some = ALL[first : first + LANES]
            to_come.update(enumerate(some))
            written = [log.producer.publish(text(topic, lane, "x")) for lane in range(len(some))]
            done = await asyncio.wait_for(asyncio.gather(*written, return_exceptions=True), PATIENCE_SECONDS)
            refused += [error for error, result in zip(some, done, strict=True) if isinstance(result, RecordTooLarge)]
            assert {type(result) for result in done} <= {int, RecordTooLarge}
        assert refused == [errors.MessageSizeTooLargeError, errors.RecordTooLargeError]
        assert len(await log.read(topic)) == len(ALL) - len(refused)
