"""The six topics: what they are called, how they are cut and how long they are kept."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from consumer.kafka.connection import Connection
from consumer.kafka.diagnosis import unreachable
from consumer.kafka.errors import LogUnavailable, TopicMismatch
from consumer.kafka.topic_ids import topic_ids
from consumer.model.identity import call_key, partition_of

logger = logging.getLogger(__name__)

DAY_SECONDS = 86_400
REQUEST_TIMEOUT_MS = 10_000
RETRY_SECONDS = 1.0
ORDERS_COMPLETE_SECONDS = 30 * DAY_SECONDS
"""Of two records that say the same, the earlier stands, and compaction keeps the later. For so long both are there: an order
that holds for less has ended by then, so a later time for its beginning changes nothing."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``retention_seconds`` is None for one that is kept for ever; a compacted one keeps the last of each key.

    Nothing younger than ``complete_seconds`` is compacted away.
    """

    name: str
    partitions: int
    retention_seconds: int | None
    compacted: bool = False
    complete_seconds: int = 0

    def partition_of(self, key: bytes) -> int:
        return partition_of(key, self.partitions)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one installation; names carry its prefix."""

    call_events: Topic
    stop_orders: Topic
    scope_totals: Topic
    terminations: Topic
    termination_log: Topic
    rejected: Topic

    @classmethod
    def named(
        cls,
        prefix: str = "",
        *,
        call_events: int = 64,
        scope_totals: int = 16,
        terminations: int = 32,
        rejected: int = 6,
    ) -> "Topics":
        """Lay out the topics; ``terminations`` and ``termination-log`` always have the same partitions."""
        return cls(
            call_events=Topic(f"{prefix}call-events", call_events, 7 * DAY_SECONDS),
            stop_orders=Topic(
                f"{prefix}stop-orders", 1, None, compacted=True, complete_seconds=ORDERS_COMPLETE_SECONDS
            ),
            scope_totals=Topic(f"{prefix}scope-totals", scope_totals, 32 * DAY_SECONDS, compacted=True),
            terminations=Topic(f"{prefix}terminations", terminations, 7 * DAY_SECONDS),
            termination_log=Topic(f"{prefix}termination-log", terminations, 30 * DAY_SECONDS),
            rejected=Topic(f"{prefix}rejected", rejected, 30 * DAY_SECONDS),
        )

    @classmethod
    def embedded(cls, prefix: str = "") -> "Topics":
        """Lay out the topics for one broker on one machine."""
        return cls.named(prefix, call_events=6, scope_totals=6, terminations=6, rejected=6)

    def all(self) -> tuple[Topic, ...]:
        return (
            self.call_events,
            self.stop_orders,
            self.scope_totals,
            self.terminations,
            self.termination_log,
            self.rejected,
        )

    def partition_of_call(self, account: str, call_id: str) -> int:
        return self.call_events.partition_of(call_key(account, call_id))

    def partition_of_account(self, account: str) -> int:
        """Where an account's terminations live: one partition, so that one worker holds its rate limit."""
        return self.terminations.partition_of(account.encode())


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the cluster says of itself: the ids tell a view of this log from one of another.

    ``topic_ids`` has those of the topics by name, empty where the brokers know none.
    """

    cluster_id: str
    topic_ids: Mapping[str, str] = field(default_factory=dict)


async def ensure_topics_patiently(connection: Connection, topics: Topics, patience_seconds: float) -> Cluster:
    """Do as ``ensure_topics``, and go on trying for so long while no broker answers, or none lets us in."""
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            return await ensure_topics(connection, topics)
        except LogUnavailable as error:
            if time.monotonic() >= give_up_at:
                raise
            logger.warning("%s. It is tried again (kafka.wait_at_start)", error)
        await asyncio.sleep(RETRY_SECONDS)


async def ensure_topics(connection: Connection, topics: Topics, *, wait_seconds: float = 30.0) -> Cluster:
    """Create what is missing, check what is there, and give the cluster's identity.

    Raises:
        TopicMismatch: a topic has another number of partitions than configured.
        LogUnavailable: no broker answered within ``wait_seconds``, or none lets us in; the message says what to check.

    """
    try:
        async with asyncio.timeout(wait_seconds):
            return await _ensure(connection, topics)
    except TimeoutError as error:
        raise LogUnavailable(
            f"Kafka at {connection.bootstrap_servers} does not answer within {wait_seconds:.0f} s; "
            "check kafka.bootstrap_servers and kafka.security"
        ) from error
    except (KafkaError, OSError) as error:
        raise await unreachable(connection, error) from error


async def _ensure(connection: Connection, topics: Topics) -> Cluster:
    admin = AIOKafkaAdminClient(**connection.client_options("callbreaker-admin"), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await _start(admin)
        while True:
            existing = set(await admin.list_topics())
            missing = [topic for topic in topics.all() if topic.name not in existing]
            if missing:
                await _create(admin, missing, connection.replication_factor)
            described = await admin.describe_topics([topic.name for topic in topics.all()])
            counts = {entry["topic"]: len(entry["partitions"]) for entry in described}
            if all(counts.values()):
                break
            await asyncio.sleep(0.02)  # one is being deleted, or is not known to every broker yet
        for topic in topics.all():
            if (found := counts[topic.name]) != topic.partitions:
                raise TopicMismatch(
                    f"topic {topic.name} has {found} partitions, the configuration says {topic.partitions}; a call would be "
                    f"looked for in the wrong one. Set kafka.partitions to {found}, or use another kafka.topic_prefix"
                )
        cluster = await admin.describe_cluster()
        return Cluster(str(cluster.get("cluster_id") or ""), await _topic_ids(admin, topics))
    finally:
        await admin.close()


async def _start(admin: AIOKafkaAdminClient) -> None:
    """Start, and ask until brokers and a controller are listed: one that is starting itself answers before it lists any."""
    await admin.start()
    client = admin._client  # noqa: SLF001 -- not in its own calls
    while not client.cluster.brokers() or client.cluster.controller is None:
        await asyncio.sleep(0.1)
        await client.force_metadata_update()


async def _topic_ids(admin: AIOKafkaAdminClient, topics: Topics) -> dict[str, str]:
    """Ask until one broker knows the id of every topic; of those that have no ids, none does."""
    while True:
        ids = await topic_ids(admin._client, [topic.name for topic in topics.all()])  # noqa: SLF001 -- not in its own calls
        if all(ids.values()) or not any(ids.values()):
            return ids
        await asyncio.sleep(0.02)


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], replication_factor: int) -> None:
    response = await admin.create_topics(
        [
            NewTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=replication_factor,
                topic_configs=_configs(topic, replication_factor),
            )
            for topic in topics
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise LogUnavailable(
                f"Kafka would not create topic {name}: {error.__name__} {message[0] if message else ''}"
            )
    # A broker acknowledges a topic before every partition has a leader; describing waits for it.
    while True:
        described = await admin.describe_topics([topic.name for topic in topics])
        ready = [p["leader"] >= 0 for entry in described for p in entry["partitions"]]
        if len(ready) == sum(topic.partitions for topic in topics) and all(ready):
            return
        await asyncio.sleep(0.02)


def _configs(topic: Topic, replication_factor: int) -> dict[str, str]:
    configs = {
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, replication_factor - 1)),
        "unclean.leader.election.enable": "false",
    }
    policies = ["compact"] * topic.compacted + ["delete"] * (topic.retention_seconds is not None)
    configs["cleanup.policy"] = ",".join(policies)
    if topic.retention_seconds is not None:
        configs["retention.ms"] = str(topic.retention_seconds * 1_000)
    if topic.complete_seconds:
        configs["min.compaction.lag.ms"] = str(topic.complete_seconds * 1_000)
    return configs
