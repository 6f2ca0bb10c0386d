"""``kafka.security`` from the YAML to records written and read, on a broker that asks who one is."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from consumer.kafka.connection import Connection
from consumer.kafka.embedded_config import HOST
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.producer import Producer
from consumer.kafka.reader import GroupReader, TopicReader, fetch_records
from consumer.kafka.topics import Topics, ensure_topics
from consumer.service.assembly import connection_of, topics_of
from consumer.settings import load_settings
from tests.kafka.helpers import text, until
from tests.kafka.secured_broker import (
    MECHANISMS,
    PLAIN_PASSWORD,
    SCRAM_PASSWORD,
    USER,
    Authority,
    Secured,
    secured_broker,
)

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

WRONG = "a-password-that-is-wrong"
AT_ONCE_SECONDS = 25.0
"""Less than what a broker that says nothing is waited for."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    async with secured_broker(tmp_path_factory.mktemp("secured-kafka")) as secured:
        yield secured


def configured(broker: Secured, prefix: str, listener: str, **security: Any) -> tuple[Connection, Topics]:
    """Read a configuration file as the service does; the password comes from the environment."""
    password = security.pop("password", None)
    if password:
        security["password"] = "${KAFKA_PASSWORD}"
    settings = {
        "kafka": {
            "bootstrap_servers": broker.servers[listener],
            "topic_prefix": prefix,
            "replication_factor": 1,
            "partitions": {"call-events": 2, "scope-totals": 1, "terminations": 1, "rejected": 1},
            "security": {name: str(value) for name, value in security.items()},
        }
    }
    file = broker.folder / "callbreaker.yaml"
    file.write_text(yaml.safe_dump(settings))
    loaded = load_settings(file, {"KAFKA_PASSWORD": password} if password else {})
    assert loaded.kafka.bootstrap_servers is not None
    return connection_of(loaded, loaded.kafka.bootstrap_servers), topics_of(loaded)


def sasl(mechanism: str, password: str | None = None) -> dict[str, str]:
    right = PLAIN_PASSWORD if mechanism == "PLAIN" else SCRAM_PASSWORD
    return {"mechanism": mechanism, "username": USER, "password": password or right}


@asynccontextmanager
async def produced(connection: Connection) -> AsyncIterator[Producer]:
    producer = Producer(connection)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def written_and_read(connection: Connection, topics: Topics) -> None:
    """Make the topics, write a record, read it by oneself, in a group and by its offset."""
    assert (await ensure_topics(connection, topics)).cluster_id
    topic = topics.call_events
    async with produced(connection) as producer:
        assert await producer.publish(text(topic, 1, "said in private"), within_seconds=60) == 0
    alone = TopicReader(connection, name="alone", partitions={topic.name: topic.partitions})
    group = GroupReader(connection, group="group", topics=[topic.name], node="node", held=list)
    await alone.start()
    alone.seek({})
    try:
        assert values(await alone.poll(max_records=10, timeout_ms=60_000)) == [b"said in private"]
    finally:
        await alone.stop()
    await group.start()
    try:
        await until(lambda: group.joined)
        group.open({(topic.name, 1): 0})
        assert values(await group.poll(max_records=10, timeout_ms=60_000)) == [b"said in private"]
        await group.commit({(topic.name, 1): 1})
        assert await group.committed(topic.name, [1]) == {1: 1}
    finally:
        await group.stop()
    assert [record.value for record in await fetch_records(connection, topic.name, 1, [0])] == [b"said in private"]


def values(read: Any) -> list[bytes]:
    return [record.value for records in read.values() for record in records]


async def refused(connection: Connection, topics: Topics) -> str:
    """Everything that connects says the same, at once and without a password; gives what it says."""
    reader = TopicReader(connection, name="r", partitions={topics.call_events.name: 1})
    said = set()
    for attempt in (ensure_topics(connection, topics), Producer(connection).start(), reader.start()):
        began = time.monotonic()
        with pytest.raises(LogUnavailable) as raised:
            await attempt
        assert time.monotonic() - began < AT_ONCE_SECONDS
        said.add(str(raised.value))
    (message,) = said
    assert not any(secret in message for secret in (PLAIN_PASSWORD, SCRAM_PASSWORD, WRONG))
    return message


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("listener", ["SASL", "BOTH"])
async def test_user_and_password_let_us_write_and_read(
    broker: Secured, topic_prefix: str, listener: str, mechanism: str
) -> None:
    tls = {"protocol": "SASL_SSL", "ca_file": broker.authority.ca_file}
    security = tls if listener == "BOTH" else {"protocol": "SASL_PLAINTEXT"}
    await written_and_read(*configured(broker, topic_prefix, listener, **security, **sasl(mechanism)))


async def test_tls_lets_us_write_and_read(broker: Secured, topic_prefix: str) -> None:
    security = {"protocol": "SSL", "ca_file": broker.authority.ca_file}
    await written_and_read(*configured(broker, topic_prefix, "TLS", **security))


async def test_a_client_certificate_lets_us_write_and_read(broker: Secured, topic_prefix: str) -> None:
    cert_file, key_file = broker.authority.issue("callbreaker", HOST)
    files = {"ca_file": broker.authority.ca_file, "cert_file": cert_file, "key_file": key_file}
    await written_and_read(*configured(broker, topic_prefix, "MUTUAL", protocol="SSL", **files))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("wrong", ["password", "username"])
async def test_who_is_not_known_is_refused_at_once_and_told_what_to_check(
    broker: Secured, mechanism: str, wrong: str
) -> None:
    security = sasl(mechanism) | {wrong: WRONG if wrong == "password" else "stranger"}
    message = await refused(*configured(broker, "x.", "SASL", protocol="SASL_PLAINTEXT", **security))
    assert f"refuses the user {security['username']!r} with {mechanism}" in message
    assert "check username, password and mechanism in kafka.security" in message


@pytest.mark.parametrize("listener", ["TLS", "BOTH"])
async def test_authority_that_did_not_sign_the_broker_is_named(broker: Secured, tmp_path: Path, listener: str) -> None:
    security: dict[str, Any] = {"ca_file": Authority(tmp_path, "stranger").ca_file}
    security |= {"protocol": "SSL"} if listener == "TLS" else {"protocol": "SASL_SSL", **sasl("PLAIN")}
    message = await refused(*configured(broker, "x.", listener, **security))
    assert "certificate that is not trusted" in message
    assert "kafka.security.ca_file" in message


async def test_broker_under_a_name_that_its_certificate_does_not_have_is_refused(broker: Secured) -> None:
    connection, topics = configured(broker, "x.", "TLS", protocol="SSL", ca_file=broker.authority.ca_file)
    elsewhere = replace(connection, bootstrap_servers=connection.bootstrap_servers.replace(HOST, "localhost"))
    message = await refused(elsewhere, topics)
    assert "localhost" in message
    assert "kafka.bootstrap_servers has the names" in message


@pytest.mark.parametrize("certificate", ["none", "of a stranger"])
async def test_client_certificate_that_is_missing_or_not_accepted_is_named(
    broker: Secured, tmp_path: Path, certificate: str
) -> None:
    files: dict[str, Path] = {}
    if certificate == "of a stranger":
        files = dict(zip(("cert_file", "key_file"), Authority(tmp_path, "stranger").issue("x", HOST), strict=True))
    security = {"protocol": "SSL", "ca_file": broker.authority.ca_file, **files}
    message = await refused(*configured(broker, "x.", "MUTUAL", **security))
    assert "client certificate" in message
    assert "check kafka.security.cert_file and kafka.security.key_file" in message


@pytest.mark.parametrize(
    ("listener", "protocol"),
    [
        ("TLS", "PLAINTEXT"),
        ("SASL", "PLAINTEXT"),
        ("SASL", "SSL"),
        ("TLS", "SASL_PLAINTEXT"),
        ("TLS", "SASL_SSL"),
        ("BOTH", "SSL"),
    ],
)
async def test_protocol_of_another_port_is_named(broker: Secured, listener: str, protocol: str) -> None:
    security: dict[str, Any] = {"protocol": protocol}
    security |= sasl("PLAIN") if protocol.startswith("SASL") else {}
    security |= {"ca_file": broker.authority.ca_file} if protocol.endswith("SSL") else {}
    message = await refused(*configured(broker, "x.", listener, **security))
    assert "check" in message
    assert "kafka.security.protocol" in message


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("absent authority", r"kafka.security.ca_file .*absent.pem.* No such file"),
        ("authority that is no PEM", r"kafka.security.ca_file .*name readable PEM"),
        ("key of another", r"kafka.security.cert_file and key_file .*(?i:mismatch)"),
        ("encrypted key", r"kafka.security.cert_file and key_file .*keys unencrypted"),
    ],
)
async def test_file_that_cannot_be_used_is_named_with_its_key(
    broker: Secured, tmp_path: Path, wrong: str, says: str
) -> None:
    cert_file, key_file = broker.authority.issue("mine", HOST)
    (tmp_path / "no.pem").write_text("not a certificate")
    files = {"ca_file": broker.authority.ca_file, "cert_file": cert_file, "key_file": key_file}
    files |= {
        "absent authority": {"ca_file": tmp_path / "absent.pem"},
        "authority that is no PEM": {"ca_file": tmp_path / "no.pem"},
        "key of another": {"key_file": broker.authority.issue("other", HOST)[1]},
        "encrypted key": {"key_file": broker.encrypted(key_file)},
    }[wrong]
    connection, topics = configured(broker, "x.", "MUTUAL", protocol="SSL", **files)
    with pytest.raises(LogUnavailable, match=says):
        await ensure_topics(connection, topics)
