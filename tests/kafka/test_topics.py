import asyncio
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.api import Response
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v5

from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable, TopicMismatch
from consumer.kafka.topics import Topics, ensure_topics, ensure_topics_patiently
from tests.kafka.helpers import Breakable
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

DAY_MS = 86_400_000
NAMES = ("call-events", "stop-orders", "scope-totals", "terminations", "termination-log", "rejected")


async def configs(servers: str, prefix: str) -> dict[str, dict[str, str]]:
    """The settings of every topic of an installation, by its name without the prefix."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        wanted = [ConfigResource(ConfigResourceType.TOPIC, prefix + name) for name in NAMES]
        responses = await admin.describe_configs(wanted)
    finally:
        await admin.close()
    resources = [resource for response in responses for resource in response.resources]
    return {name.removeprefix(prefix): {entry[0]: entry[1] for entry in entries} for *_, name, entries in resources}


async def test_topics_are_made_as_the_architecture_says(kafka_servers: str, topic_prefix: str) -> None:
    topics = Topics.named(topic_prefix, call_events=3, scope_totals=2, terminations=2, rejected=1)
    cluster = await ensure_topics(Connection(kafka_servers), topics)
    assert cluster.cluster_id
    found = await configs(kafka_servers, topic_prefix)
    assert set(found) == set(NAMES)
    for settings in found.values():
        assert settings["message.timestamp.type"] == "LogAppendTime"
        assert settings["min.insync.replicas"] == "1"
        assert settings["unclean.leader.election.enable"] == "false"
    assert {name: settings["cleanup.policy"] for name, settings in found.items()} == {
        "call-events": "delete",
        "stop-orders": "compact",
        "scope-totals": "compact,delete",
        "terminations": "delete",
        "termination-log": "delete",
        "rejected": "delete",
    }
    assert {name: int(found[name]["retention.ms"]) // DAY_MS for name in NAMES} == {
        "call-events": 7,
        "stop-orders": 7,  # Kafka's default; a topic that is only compacted does not use it
        "scope-totals": 32,  # the longest window and a day
        "terminations": 7,
        "termination-log": 30,
        "rejected": 30,
    }
    assert int(found["stop-orders"]["min.compaction.lag.ms"]) == 30 * DAY_MS


async def test_second_start_and_two_starts_at_once_change_nothing(kafka_servers: str, topic_prefix: str) -> None:
    connection = Connection(kafka_servers)
    topics = Topics.named(topic_prefix, call_events=2, scope_totals=1, terminations=1, rejected=1)
    first, second = await asyncio.gather(ensure_topics(connection, topics), ensure_topics(connection, topics))
    before = await configs(kafka_servers, topic_prefix)
    assert await ensure_topics(connection, topics) == first == second
    assert await configs(kafka_servers, topic_prefix) == before


async def test_topic_with_other_partitions_is_refused_with_its_name_and_a_remedy(
    kafka_servers: str, topic_prefix: str
) -> None:
    connection = Connection(kafka_servers)
    await ensure_topics(connection, Topics.named(topic_prefix, call_events=2, scope_totals=1, terminations=1))
    said = (
        f"topic {topic_prefix}call-events has 2 partitions, the configuration says 5; .*"
        "Set kafka.partitions to 2, or use another kafka.topic_prefix"
    )
    with pytest.raises(TopicMismatch, match=re.escape(said).replace(r"\.\*", ".*")):
        await ensure_topics(connection, Topics.named(topic_prefix, call_events=5, scope_totals=1, terminations=1))


async def test_kafka_that_does_not_answer_is_named_with_what_to_check() -> None:
    with pytest.raises(
        LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer .* check kafka.bootstrap_servers"
    ):
        await ensure_topics(Connection("127.0.0.1:1"), Topics.named("x."), wait_seconds=2)


@asynccontextmanager
async def listing_nothing_at_first(servers: str, answers: int) -> AsyncIterator[str]:
    """A way to a broker on which its first answers about the cluster list no broker, as while it is starting."""
    host, _, port = servers.partition(":")
    left = answers

    async def questions(client: asyncio.StreamReader, broker: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        nonlocal left
        while True:
            size = await client.readexactly(4)
            question = await client.readexactly(*struct.unpack(">i", size))
            api_key, version, correlation_id = struct.unpack_from(">hhi", question)
            if api_key == MetadataRequest.API_KEY and left:
                left -= 1
                assert version == MetadataResponse_v5.API_VERSION
                answer: Response = MetadataResponse_v5(0, [], "cluster", -1, [])
                body = struct.pack(">i", correlation_id) + answer.encode()
                back.write(struct.pack(">i", len(body)) + body)
            else:
                broker.write(size + question)

    async def answered(broker: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await broker.read(65_536):
            back.write(data)

    async def serve(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        answers, broker = await asyncio.open_connection(host, int(port))
        ways = [asyncio.create_task(questions(client, broker, back)), asyncio.create_task(answered(answers, back))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        back.close()
        broker.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert not left, "the broker was not asked often enough"


async def test_a_broker_that_lists_no_broker_yet_is_waited_for(kafka_servers: str, topic_prefix: str) -> None:
    topics = Topics.named(topic_prefix, call_events=1, scope_totals=1, terminations=1, rejected=1)
    async with listing_nothing_at_first(kafka_servers, answers=3) as servers:
        assert (await ensure_topics(Connection(servers), topics)).cluster_id


async def test_so_long_a_broker_is_waited_for_as_is_told(breakable_kafka: Breakable, topic_prefix: str) -> None:
    topics = Topics.named(topic_prefix, call_events=1, scope_totals=1, terminations=1, rejected=1)
    connection = Connection(breakable_kafka.servers)
    async with breakable_kafka.killed():
        for seconds in (0.0, 0.5):
            with pytest.raises(LogUnavailable, match="does not answer"):
                await ensure_topics_patiently(connection, topics, seconds)
        waiting = asyncio.create_task(ensure_topics_patiently(connection, topics, PATIENCE_SECONDS))
    assert (await waiting).cluster_id
