"""One consumer of aiokafka: how it is made, asked and ended, with a bound on every wait and our errors for its own."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.kafka.connection import Connection
from consumer.kafka.diagnosis import unreachable
from consumer.kafka.errors import Stalled
from consumer.kafka.taking import take_fetched, wait_for_fetched
from consumer.kafka.topic_ids import topic_ids
from consumer.kafka.translate import translated
from consumer.model.outline import Logged

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 20_000
ANSWER_SECONDS = 5.0
STOP_SECONDS = 3.0
FETCH_BYTES = 1024 * 1024
FETCH_ALL_BYTES = 8 * FETCH_BYTES
"""What is fetched ahead: of one partition, and at once. Dozens of partitions would else fill memory by themselves."""
COORDINATOR_TASKS = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")


class LogRecord(Logged, Protocol):
    """A record as it was read, with its key."""

    @property
    def key(self) -> bytes | None: ...


class Stopwatch:
    """Adds up the seconds spent inside of it, the present stay included."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._before, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._since if self._since is not None else 0.0)


def client_options_of(connection: Connection, client_id: str) -> dict[str, Any]:
    """Give what every consumer is made with."""
    return {
        **connection.client_options(client_id),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "fetch_max_wait_ms": 250,
        "max_partition_fetch_bytes": FETCH_BYTES,
        "fetch_max_bytes": FETCH_ALL_BYTES,
        "retry_backoff_ms": 50,
        "metadata_max_age_ms": 30_000,
    }


async def start_client(consumer: AIOKafkaConsumer, connection: Connection) -> None:
    """Connect; raises ``LogUnavailable``, with what to check."""
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        await stop_client(consumer)
        raise await unreachable(connection, error) from error


async def stop_client(consumer: AIOKafkaConsumer) -> None:
    """Close, within ``STOP_SECONDS`` whatever the brokers do."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await consumer.stop()
    except (TimeoutError, KafkaError, OSError) as error:
        logger.warning("leaving Kafka did not finish in time: %r", error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # A fetch that waited for a broker was cancelled by aiokafka, which has taken that for its own end.
    else:
        return
    await _let_go(consumer)


async def _let_go(consumer: AIOKafkaConsumer) -> None:
    """End what aiokafka goes on with where its own end was cut short."""
    fetcher, coordinator = consumer._fetcher, consumer._coordinator  # noqa: SLF001 -- nothing public ends these tasks
    tasks = [fetcher._fetch_task, *fetcher._pending_tasks] if fetcher else []  # noqa: SLF001 -- as above
    tasks += [task for name in COORDINATOR_TASKS if (task := getattr(coordinator, name, None))]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await consumer._client.close()  # noqa: SLF001 -- as above


def check_alive(consumer: AIOKafkaConsumer) -> None:
    """Raise where aiokafka would go on answering nothing."""
    fetcher = consumer._fetcher  # noqa: SLF001 -- nothing public says that these tasks have died
    coordinator = consumer._coordinator  # noqa: SLF001
    tasks = [fetcher and fetcher._fetch_task, getattr(coordinator, "_coordination_task", None)]  # noqa: SLF001
    if any(task is not None and task.done() for task in tasks):
        raise Stalled("the Kafka consumer's background task has died; the role must start again")


async def poll_client(
    consumer: AIOKafkaConsumer, max_records: int, timeout_ms: int
) -> Mapping[TopicPartition, Sequence[LogRecord]]:
    """Give what there is, else wait for the first record; raises ``Stalled``, ``LogUnavailable`` and ``Refused``.

    Of what is there already, the rest of a batch may come on top of ``max_records``.
    """
    check_alive(consumer)
    give_up_at = time.monotonic() + timeout_ms / 1_000
    try:
        while True:
            there = await take_fetched(consumer, max_records)
            seconds = give_up_at - time.monotonic()
            if there or seconds <= 0 or not await wait_for_fetched(consumer, seconds):
                return there
    except KafkaError as error:
        raise translated(error, "records cannot be read") from error


def answering() -> asyncio.Timeout:
    """Bound the wait for the answers to a question."""
    return asyncio.timeout(ANSWER_SECONDS)


async def bounds_of(
    consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Give the first and the next offset by (topic, partition); raises ``LogUnavailable`` and ``Refused``."""
    try:
        async with answering():
            first, after = await asyncio.gather(consumer.beginning_offsets(tps), consumer.end_offsets(tps))
    except (KafkaError, TimeoutError) as error:
        raise translated(error, f"the bounds of {tps[0].topic} cannot be read") from error
    return {(tp.topic, tp.partition): (first[tp], after[tp]) for tp in tps}


async def ids_of(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> dict[str, str]:
    """Give the ids of topics by name; raises ``LogUnavailable`` and ``Refused``."""
    try:
        async with answering():
            return await topic_ids(consumer._client, topics)  # noqa: SLF001 -- the one that it speaks to Kafka with
    except (KafkaError, TimeoutError, OSError) as error:
        raise translated(error, f"the ids of {', '.join(topics)} cannot be read") from error
