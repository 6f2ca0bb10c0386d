"""The six topics: what they are called, how they are cut and how long they are kept."""

import asyncio
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from consumer.kafka.connection import Connection
from consumer.kafka.diagnosis import unreachable
from consumer.kafka.errors import LogUnavailable, TopicMismatch
from consumer.model.identity import call_key, partition_of

DAY_SECONDS = 86_400
REQUEST_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``retention_seconds`` is None for a compacted one."""

    name: str
    partitions: int
    retention_seconds: int | None

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
            stop_orders=Topic(f"{prefix}stop-orders", 1, None),
            scope_totals=Topic(f"{prefix}scope-totals", scope_totals, None),
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
    """What the cluster says of itself: its id tells a view of this log from one of another."""

    cluster_id: str


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
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics.all() if topic.name not in existing]
        if missing:
            await _create(admin, missing, connection.replication_factor)
        described = {entry["topic"]: entry for entry in await admin.describe_topics([t.name for t in topics.all()])}
        for topic in topics.all():
            found = len(described[topic.name]["partitions"])
            if found != topic.partitions:
                raise TopicMismatch(
                    f"topic {topic.name} has {found} partitions, the configuration says {topic.partitions}; a call would be "
                    f"looked for in the wrong one. Set kafka.partitions to {found}, or use another kafka.topic_prefix"
                )
        cluster = await admin.describe_cluster()
        return Cluster(str(cluster.get("cluster_id") or ""))
    finally:
        await admin.close()


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
    if topic.retention_seconds is None:
        configs["cleanup.policy"] = "compact"
    else:
        configs["cleanup.policy"] = "delete"
        configs["retention.ms"] = str(topic.retention_seconds * 1_000)
    return configs
