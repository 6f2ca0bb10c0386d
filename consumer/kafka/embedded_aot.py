"""Half the start time of every broker, for one training run: the JVM's ahead-of-time cache (JEP 483).

A short-lived broker is started, used and ended while its JVM records what it loads and links; a second JVM makes the
cache of it. A cache that does not fit is ignored by the JVM, so nothing here can keep a broker from starting.
"""

import contextlib
import fcntl
import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from consumer.kafka.embedded_broker import Broker
from consumer.kafka.embedded_config import HOST, Node
from consumer.kafka.embedded_errors import EmbeddedKafkaError, OnProgress, Progress
from consumer.kafka.embedded_probe import until_answers
from consumer.kafka.embedded_runtime import Runtime, cache_dir
from consumer.kafka.embedded_state import Cluster, new_cluster_id, with_free_ports

FIRST_JDK = 24
TRAINING_HEAP_MB = 256
KEPT_CACHES = 3

log = logging.getLogger(__name__)


async def with_aot_cache(runtime: Runtime, on_progress: OnProgress) -> Runtime:
    """Give the runtime its cache; the first time it is made, which takes about 10 s.

    A failed training is written down as an empty file, so that it is not paid for again.
    """
    if runtime.jdk < FIRST_JDK:
        return runtime
    cache = cache_dir() / f"kafka-{_key(runtime)}.aot"
    with _lock(cache) as first:
        if first and _size(cache) is None:
            on_progress(Progress("resolving", "preparing faster starts (once, about 10 s)"))
            try:
                await _train(runtime, cache)
            except (EmbeddedKafkaError, KafkaError, OSError) as error:
                log.warning("embedded Kafka starts without its ahead-of-time cache: %s", error)
                cache.touch()
            _prune()
    return replace(runtime, aot_cache=cache) if _size(cache) else runtime


async def _train(runtime: Runtime, cache: Path) -> None:
    directory = cache.parent / "training"
    recorded, made = directory / "recorded", directory / "made.aot"
    (node,) = with_free_ports(Cluster(new_cluster_id(), (Node(1, 0, 0),)), 0).nodes
    broker = Broker(directory, runtime, TRAINING_HEAP_MB, node.id)
    await broker.end_left_over()
    shutil.rmtree(directory, ignore_errors=True)
    broker.write_settings(node, (node,))
    try:
        await broker.format(new_cluster_id())
        await broker.start("-XX:AOTMode=record", f"-XX:AOTConfiguration={recorded}")
        await until_answers(broker, node)
        await _use(f"{HOST}:{node.client_port}")
        await broker.stop()
        create = ("-XX:AOTMode=create", f"-XX:AOTConfiguration={recorded}", f"-XX:AOTCache={made}")
        await broker.run("making the ahead-of-time cache", *create)
        made.replace(cache)
    finally:
        await broker.kill()
        shutil.rmtree(directory, ignore_errors=True)


async def _use(servers: str) -> None:
    """Create a topic, produce, read: what is used here is quick in every broker from its first request."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    try:
        await admin.start()
        await admin.create_topics([NewTopic("training", 1, 1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait("training", b"record")
    async with AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition("training", 0)])
        await consumer.getmany(timeout_ms=5000)


def _key(runtime: Runtime) -> str:
    """Everything the JVM compares: another path, size or time of a file makes another cache."""
    files = (runtime.java_home / "lib" / "modules", *runtime.class_path)
    stats = ((str(file), file.stat()) for file in files)
    text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


@contextmanager
def _lock(cache: Path) -> Iterator[bool]:
    """Whether this process may train: while another one does, start without rather than wait."""
    with (cache.parent / "training.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _prune() -> None:
    """Keep the newest few: one is 67 MB, and every new virtual environment makes its own."""
    caches = sorted(cache_dir().glob("kafka-*.aot"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in caches[KEPT_CACHES:]:
        with contextlib.suppress(OSError):
            old.unlink()
