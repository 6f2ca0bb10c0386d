"""Reading partitions: as a member of a group, or a whole topic by oneself.

Rules learned from aiokafka 0.14, kept here so that nobody else needs to know them: partitions are
paused inside the assignment callback and nothing else happens there; records of a partition that has not been opened yet
are dropped, since opening seeks; ``getmany`` is never cancelled; commits and stops have deadlines; a dead background task
is an error and not an empty answer.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, UnknownMemberIdError
from aiokafka.protocol.group import LeaveGroupRequest

from consumer.kafka.assignor import view_aware_assignor
from consumer.kafka.connection import Connection
from consumer.kafka.diagnosis import unreachable
from consumer.kafka.errors import LogUnavailable, Stalled

logger = logging.getLogger(__name__)

SESSION_TIMEOUT_MS = 9_000
HEARTBEAT_MS = 2_000
REBALANCE_TIMEOUT_MS = 12_000
REQUEST_TIMEOUT_MS = 20_000
COMMIT_SECONDS = 5.0
STOP_SECONDS = 3.0
LEAVE_SECONDS = 5.0
RETRY_SECONDS = 0.1
FETCH_BYTES = 4 * 1024 * 1024


class LogRecord(Protocol):
    """A record as it was read. ``timestamp`` is the broker's, in milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def _options(connection: Connection, client_id: str) -> dict[str, Any]:
    return {
        **connection.client_options(client_id),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "fetch_max_wait_ms": 250,
        "max_partition_fetch_bytes": FETCH_BYTES,
        "retry_backoff_ms": 50,
        "metadata_max_age_ms": 30_000,
    }


async def _start(consumer: AIOKafkaConsumer, connection: Connection) -> None:
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        await _stop(consumer)
        raise await unreachable(connection, error) from error


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await consumer.stop()
    except (TimeoutError, KafkaError, OSError) as error:
        logger.warning("leaving Kafka did not finish in time: %r", error)


def _check_alive(consumer: AIOKafkaConsumer) -> None:
    """Raise where aiokafka would go on answering nothing."""
    fetcher = consumer._fetcher  # noqa: SLF001 -- nothing public says that these tasks have died
    coordinator = consumer._coordinator  # noqa: SLF001
    tasks = [fetcher and fetcher._fetch_task, getattr(coordinator, "_coordination_task", None)]  # noqa: SLF001
    if any(task is not None and task.done() for task in tasks):
        raise Stalled("the Kafka consumer's background task has died; the role must start again")


class GroupReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A member of a consumer group over one or more topics with the same partitions.

    ``generation`` grows when partitions are taken away and when they are given. Once ``joined``, the owner opens each
    assigned partition with ``open``.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topics: Sequence[str],
        node: str,
        held: Callable[[], Iterable[int]],
        member_file: Path | None = None,
    ) -> None:
        """Prepare a member.

        Args:
            connection: the cluster.
            group: the role's name; the topics' prefix goes before it.
            topics: all with the same number of partitions.
            node: the stable name of this node.
            held: gives the partitions this node has views of.
            member_file: where the member's id is kept while it lives. After a kill -9 the next start finds it and takes the
                dead member out of the group, which would otherwise wait for its session to end.

        """
        self._member_file = member_file
        self._connection = connection
        self._topics = tuple(topics)
        self._opened: set[TopicPartition] = set()
        self.assigned: frozenset[int] = frozenset()
        self.generation = 0
        self.joined = False
        self._options = {
            **_options(connection, f"callbreaker-{group}"),
            "group_id": f"{connection.topic_prefix}callbreaker-{group}",
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "rebalance_timeout_ms": REBALANCE_TIMEOUT_MS,
            "max_poll_interval_ms": 600_000,
            "partition_assignment_strategy": [view_aware_assignor(node, held)],
        }
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _client(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise Stalled("the reader has not been started")
        return self._consumer

    async def start(self) -> None:
        self._consumer = AIOKafkaConsumer(**self._options)
        await _start(self._consumer, self._connection)
        await self._take_out_dead_self()
        self._consumer.subscribe(self._topics, listener=self)

    async def stop(self) -> None:
        if self._consumer:
            await _stop(self._consumer)
        if self._member_file:
            self._member_file.unlink(missing_ok=True)

    async def _take_out_dead_self(self) -> None:
        """Leave the group in the name of the member that this node was before it was killed."""
        if self._member_file is None or not self._member_file.exists():
            return
        coordinator = self._client._coordinator  # noqa: SLF001 -- leaving for another member has no public call
        request = LeaveGroupRequest(self._options["group_id"], self._member_file.read_text())
        give_up_at = time.monotonic() + LEAVE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await coordinator.ensure_coordinator_known()
                    await coordinator._send_req(request)  # noqa: SLF001
            except UnknownMemberIdError:
                return
            except (KafkaError, TimeoutError, OSError):
                await asyncio.sleep(RETRY_SECONDS)  # a broker that has just started is still reading its groups
            else:
                return
        logger.info("the member of the last start is left to time out")

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 -- always all of them
        self._opened.clear()
        self.joined = False
        self.generation += 1

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        tps = list(assigned)
        if tps:
            self._client.pause(*tps)
        self._opened.clear()
        self.assigned = frozenset(tp.partition for tp in tps)
        self.joined = True
        self.generation += 1
        if self._member_file:
            self._member_file.parent.mkdir(parents=True, exist_ok=True)
            self._member_file.write_text(self._client._coordinator.member_id)  # noqa: SLF001

    async def committed(self, topic: str, partition: int) -> int | None:
        """Give the group's committed offset, None where nothing was ever committed."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                return await self._client.committed(TopicPartition(topic, partition))  # type: ignore[no-any-return]
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailable(f"the committed offset of {topic}/{partition} cannot be read: {error}") from error

    async def ends(self, partitions: Iterable[int]) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the first and the next offset of each partition, by (topic, partition)."""
        tps = [TopicPartition(topic, partition) for topic in self._topics for partition in partitions]
        return await _bounds(self._client, tps)

    def open(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Read these partitions on from the given offsets."""
        tps = [TopicPartition(*key) for key in offsets]
        try:
            for tp in tps:
                self._client.seek(tp, offsets[tp.topic, tp.partition])
            self._client.resume(*tps)
        except IllegalStateError:
            return  # they were taken away again meanwhile; the next generation is on its way
        self._opened.update(tps)

    async def poll(self, *, max_records: int, timeout_ms: int) -> dict[tuple[str, int], Sequence[LogRecord]]:
        """Give what there is of the opened partitions, waiting up to ``timeout_ms`` for the first record."""
        generation = self.generation
        _check_alive(self._client)
        fetched = await self._client.getmany(timeout_ms=timeout_ms, max_records=max_records)
        if generation != self.generation:
            return {}
        return {(tp.topic, tp.partition): records for tp, records in fetched.items() if tp in self._opened}

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit next offsets of partitions that are still ours; losing them meanwhile is no error."""
        mine = {TopicPartition(*key): offset for key, offset in offsets.items() if TopicPartition(*key) in self._opened}
        if not mine:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._client.commit(mine)
        except (CommitFailedError, IllegalStateError):
            logger.info("partitions moved before their offsets were committed")
        except (KafkaError, TimeoutError) as error:
            logger.warning("offsets could not be committed now, the next commit covers them: %r", error)


async def _bounds(consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> dict[tuple[str, int], tuple[int, int]]:
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            first = await consumer.beginning_offsets(tps)
            after = await consumer.end_offsets(tps)
    except (KafkaError, TimeoutError) as error:
        raise LogUnavailable(f"the bounds of {tps[0].topic} cannot be read: {error}") from error
    return {(tp.topic, tp.partition): (first[tp], after[tp]) for tp in tps}


class TopicReader:
    """Reads all of some topics by itself, without a group: for what every process must know."""

    def __init__(self, connection: Connection, *, name: str, partitions: Mapping[str, int]) -> None:
        self._connection = connection
        self._name = name
        self._tps = [TopicPartition(topic, p) for topic, count in partitions.items() for p in range(count)]
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _client(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise Stalled("the reader has not been started")
        return self._consumer

    async def start(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Start at the given next offsets; a partition that is not named starts at its beginning."""
        self._consumer = AIOKafkaConsumer(**_options(self._connection, f"callbreaker-{self._name}"))
        await _start(self._consumer, self._connection)
        self._consumer.assign(self._tps)
        for tp in self._tps:
            self._consumer.seek(tp, offsets.get((tp.topic, tp.partition), 0))

    async def stop(self) -> None:
        if self._consumer:
            await _stop(self._consumer)

    async def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the first and the next offset of each partition, by (topic, partition)."""
        return await _bounds(self._client, self._tps)

    async def poll(self, *, max_records: int, timeout_ms: int) -> dict[tuple[str, int], Sequence[LogRecord]]:
        """Give what there is, waiting up to ``timeout_ms`` for the first record."""
        _check_alive(self._client)
        fetched = await self._client.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return {(tp.topic, tp.partition): records for tp, records in fetched.items()}

    async def position(self, topic: str, partition: int) -> int:
        """Give the next offset of a partition that ``poll`` has not passed yet, whether or not there is a record at it."""
        return int(await self._client.position(TopicPartition(topic, partition)))

    def position_after(self, records: Mapping[tuple[str, int], Sequence[LogRecord]]) -> dict[tuple[str, int], int]:
        """Give the next offset of each partition just read."""
        return {key: batch[-1].offset + 1 for key, batch in records.items() if batch}


async def fetch_records(connection: Connection, topic: str, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
    """Read single records by offset: the events a decision names as its evidence.

    Offsets that retention has taken away are left out. Raises ``LogUnavailable`` when Kafka does not answer.
    """
    if not offsets:
        return []
    consumer = AIOKafkaConsumer(**_options(connection, "callbreaker-evidence"))
    await _start(consumer, connection)
    tp = TopicPartition(topic, partition)
    found: list[LogRecord] = []
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            consumer.assign([tp])
            first = (await consumer.beginning_offsets([tp]))[tp]
            after = (await consumer.end_offsets([tp]))[tp]
            for offset in sorted({offset for offset in offsets if first <= offset < after}):
                if not found or found[-1].offset < offset:
                    consumer.seek(tp, offset)
                    record = await consumer.getone(tp)
                    if record.offset == offset:
                        found.append(record)
    except (KafkaError, TimeoutError) as error:
        raise LogUnavailable(f"records of {topic}/{partition} cannot be read: {error!r}") from error
    finally:
        await _stop(consumer)
    return found
