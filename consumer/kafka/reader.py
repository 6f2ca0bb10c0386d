"""Reading partitions as a member of a group.

Rules learned from aiokafka 0.14, kept here so that nobody else needs to know them: partitions are paused inside the
assignment callback and nothing else happens there; records of a partition that has not been opened yet are dropped, since
opening seeks; ``getmany`` is never cancelled; commits and stops have deadlines, and no commit outlives the assignment it
was made in; a dead background task is an error and not an empty answer; a process that stood still for as long as a session
lasts does nothing as a member of its group until the group has confirmed that it is one.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata

from consumer.kafka.assignor import view_aware_assignor
from consumer.kafka.connection import Connection
from consumer.kafka.consumer_client import (
    LogRecord,
    Stopwatch,
    answering,
    bounds_of,
    client_options_of,
    ids_of,
    poll_client,
    start_client,
    stop_client,
)
from consumer.kafka.errors import LogError, LogUnavailable, Refused, Stalled
from consumer.kafka.membership import EVERY_SECONDS, Pulse, is_still_member
from consumer.kafka.topic_reader import TopicReader, fetch_records
from consumer.kafka.translate import translated

logger = logging.getLogger(__name__)

SESSION_TIMEOUT_MS = 6_000
"""The shortest that brokers allow unless they are told otherwise: so long nobody sends for an account whose owner died."""
HEARTBEAT_MS = 1_000
REBALANCE_TIMEOUT_MS = 12_000
COMMIT_SECONDS = 5.0
LEAVE_SECONDS = 5.0
RETRY_SECONDS = 0.1

__all__ = ["GroupReader", "LogRecord", "TopicReader", "fetch_records"]


class GroupReader(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A member of a consumer group over one or more topics with the same partitions.

    ``generation`` grows when partitions are taken away and when they are given. Once ``joined``, the owner opens each
    assigned partition with ``open``. ``waited_seconds`` is how long ``poll`` has waited for records in all.
    """

    _generation = 0
    _pulse = Pulse()

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topics: Sequence[str],
        node: str,
        held: Callable[[], Iterable[int]],
        member_file: Path | None = None,
        url: Callable[[], str | None] = lambda: None,
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
            url: gives where this process answers HTTP; asked whenever the member joins.

        """
        self._member_file = member_file
        self._connection = connection
        self._topics = tuple(topics)
        self._opened: set[TopicPartition] = set()
        self.assigned: frozenset[int] = frozenset()
        self.generation = 0
        self.joined = False
        self._ids: dict[str, str] = {}
        self._waiting = Stopwatch()
        self._pulse = Pulse()
        self._confirming: asyncio.Task[None] | None = None
        self._options = {
            **client_options_of(connection, f"callbreaker-{group}"),
            "group_id": connection.group_id(group),
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "rebalance_timeout_ms": REBALANCE_TIMEOUT_MS,
            "max_poll_interval_ms": 600_000,
            "partition_assignment_strategy": [view_aware_assignor(node, held, url)],
        }
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _client(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise Stalled("the reader has not been started")
        return self._consumer

    @property
    def generation(self) -> int:
        """Grows with every change of the assignment, and when this process has stood still for too long to be sure of it."""
        if self.joined and self._pulse.stood_still(_unnoticed_seconds()):
            self._doubt_membership()
        return self._generation

    @generation.setter
    def generation(self, value: int) -> None:
        self._generation = value

    @property
    def waited_seconds(self) -> float:
        return self._waiting.seconds

    async def start(self, *, join: bool = True) -> None:
        self._consumer = AIOKafkaConsumer(**self._options)
        await start_client(self._consumer, self._connection)
        self._pulse.start(lambda: self.generation)
        await self._take_out_dead_self()
        if join:
            self.join()

    def join(self) -> None:
        """Ask the group for partitions; what ``url`` gives must be known by now."""
        self._client.subscribe(self._topics, listener=self)

    async def stop(self) -> None:
        self._pulse.stop()
        if self._confirming:
            self._confirming.cancel()
            await asyncio.wait([self._confirming])
        if self._consumer:
            await stop_client(self._consumer)
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

    def _doubt_membership(self) -> None:
        logger.warning("this process has stood still for seconds; the group is asked whether it still counts us in")
        self.on_partitions_revoked(())
        self._confirming = asyncio.get_running_loop().create_task(self._confirm_membership(), name="confirm membership")

    async def _confirm_membership(self) -> None:
        """Go on with the old assignment if the group has not missed us; if it has, a new one comes by itself."""
        generation = self._generation
        if await is_still_member(self._client._coordinator) and generation == self._generation:  # noqa: SLF001
            self.joined = True
            self.generation += 1

    async def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Give the ids of topics by name, empty where Kafka has none; raises ``LogUnavailable``."""
        self._ids = await ids_of(self._client, list(topics))
        return self._ids

    async def committed(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Give the group's committed offsets: of partitions where nothing was, or only in a topic deleted since, none."""
        tps = [TopicPartition(topic, partition) for partition in partitions]
        try:
            async with answering():
                found = await self._client._coordinator.fetch_committed_offsets(tps)  # noqa: SLF001 -- with their metadata
        except (KafkaError, TimeoutError) as error:
            raise translated(error, f"the committed offsets of {topic} cannot be read") from error
        offsets = {}
        for tp in tps:
            if tp not in found or found[tp].offset < 0:
                continue
            then, now = found[tp].metadata, self._ids.get(topic)
            if then and now and then != now:
                logger.warning(
                    "what was committed of %s/%d is of a topic that was deleted since: it counts for nothing", *tp
                )
                continue
            offsets[tp.partition] = int(found[tp].offset)
        return offsets

    async def ends(self, partitions: Iterable[int]) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the first and the next offset of each partition, by (topic, partition)."""
        tps = [TopicPartition(topic, partition) for topic in self._topics for partition in partitions]
        return await bounds_of(self._client, tps)

    async def bounds(self, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the first and the next offset of single partitions, by (topic, partition)."""
        return await bounds_of(self._client, [TopicPartition(*key) for key in keys])

    async def position(self, topic: str, partition: int) -> int | None:
        """Give the next offset that ``poll`` has not passed yet; None of a partition that is not open."""
        tp = TopicPartition(topic, partition)
        try:
            return int(await self._client.position(tp)) if tp in self._opened else None
        except IllegalStateError:
            return None  # it is being taken away at this moment

    async def end(self, topic: str, partition: int) -> int:
        """Give the next offset of a partition as it is now; raises ``LogUnavailable``."""
        tp = TopicPartition(topic, partition)
        try:
            async with answering():
                return int((await self._client.end_offsets([tp]))[tp])
        except (KafkaError, TimeoutError) as error:
            raise translated(error, f"the end of {topic}/{partition} cannot be read") from error

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
        with self._waiting:
            fetched = await poll_client(self._client, max_records, timeout_ms)
        if generation != self.generation:
            return {}
        return {(tp.topic, tp.partition): records for tp, records in fetched.items() if tp in self._opened}

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> bool:
        """Commit next offsets of partitions that are still ours; says whether they are. Losing them meanwhile is no error.

        It is tried for a few seconds, but in no other generation than the one that the offsets are of.
        """
        mine = {
            TopicPartition(*key): OffsetAndMetadata(offset, self._ids.get(key[0], ""))
            for key, offset in offsets.items()
            if TopicPartition(*key) in self._opened
        }
        generation, ours = self.generation, None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_SECONDS):
                while generation == self.generation:
                    ours = await self._commit_once(mine)
                    if ours is None:
                        return len(mine) == len(offsets)
                    await asyncio.sleep(RETRY_SECONDS)
        logger.warning("%s", ours or "partitions moved before their offsets were committed")
        return False

    async def _commit_once(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> LogError | None:
        """Give what was wrong, None if nothing was; raises ``Refused``."""
        coordinator = self._client._coordinator  # noqa: SLF001 -- its ``commit`` tries again, whatever the generation
        try:
            await coordinator._do_commit_offsets(None, offsets)  # noqa: SLF001
        except (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError):
            return LogUnavailable("partitions are moving, and their offsets are not committed")
        except KafkaError as error:
            ours = translated(error, "offsets cannot be committed now")
            if isinstance(ours, Refused):
                raise ours from error
            return ours
        return None


def _unnoticed_seconds() -> float:
    """How long a process may stand still, having spoken to the group one heartbeat before, without the group missing it."""
    return (SESSION_TIMEOUT_MS - HEARTBEAT_MS) / 1_000 - EVERY_SECONDS
