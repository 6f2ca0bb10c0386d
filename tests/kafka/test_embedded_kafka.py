import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumer.kafka import embedded
from consumer.kafka.embedded import (
    DataDirError,
    DataDirInUseError,
    EmbeddedKafka,
    PortTakenError,
    Progress,
    StartError,
    prepare,
)
from consumer.kafka.embedded_broker import Broker
from consumer.kafka.embedded_config import jvm_options
from consumer.kafka.embedded_process import end_left_over, write_pid_file
from consumer.kafka.embedded_runtime import find_runtime
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.kafka

PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from consumer.kafka.embedded import EmbeddedKafka
async def main():
    async with EmbeddedKafka(Path(sys.argv[1])) as kafka:
        print(kafka.bootstrap_servers, *kafka.pids, flush=True)
        await asyncio.Event().wait()
uvloop.run(main())
"""


async def create_topic(servers: str, topic: str, replication_factor: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, 1, replication_factor)])
        assert [error[1] for error in answer.topic_errors] == [0], answer
    finally:
        await admin.close()


async def produce(servers: str, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(servers: str, topic: str) -> list[bytes]:
    """Every record of the topic's only partition, read with assignment: no consumer group."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                values += [record.value for record in records]
        return values


def is_gone(pid: int) -> bool:
    """Dead, or dead and not yet waited for by whoever became its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def supervised(kafka: EmbeddedKafka) -> AsyncIterator[None]:
    task = asyncio.create_task(kafka.supervise())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def start_parent(data_dir: Path) -> tuple[asyncio.subprocess.Process, str, int]:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(data_dir)), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    servers, pid = (await asyncio.wait_for(parent.stdout.readline(), PATIENCE_SECONDS)).decode().split()
    return parent, servers, int(pid)


async def test_session_broker_takes_a_record_and_gives_it_back(kafka_servers: str, topic_prefix: str) -> None:
    await create_topic(kafka_servers, topic_prefix + "events")
    await produce(kafka_servers, topic_prefix + "events", b"one", b"two")
    assert await consume(kafka_servers, topic_prefix + "events") == [b"one", b"two"]


async def test_second_start_finds_records_and_port_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "größe, 50% & more"
    async with EmbeddedKafka(data_dir) as first:
        await create_topic(first.bootstrap_servers, "events")
        await produce(first.bootstrap_servers, "events", b"before")
        producer = AIOKafkaProducer(bootstrap_servers=first.bootstrap_servers)
        await producer.start()
    try:
        stages: list[Progress] = []
        async with EmbeddedKafka(data_dir, on_progress=stages.append) as second:
            await producer.send_and_wait("events", b"after")  # the port is the same: an open producer goes on
            assert second.bootstrap_servers == first.bootstrap_servers
            assert await consume(second.bootstrap_servers, "events") == [b"before", b"after"]
        assert [step.stage for step in stages] == ["starting", "ready"]
    finally:
        await producer.stop()
    assert all(map(is_gone, (*first.pids, *second.pids)))


async def test_killed_broker_comes_back_on_its_port_with_its_records(tmp_path: Path) -> None:
    stages: list[Progress] = []
    async with EmbeddedKafka(tmp_path, on_progress=stages.append) as kafka:
        servers, (pid,) = kafka.bootstrap_servers, kafka.pids
        await create_topic(servers, "events")
        await produce(servers, "events", b"kept")
        async with supervised(kafka):
            os.kill(pid, signal.SIGKILL)
            await until(lambda: [step.stage for step in stages][-2:] == ["restarting", "ready"])
            assert kafka.bootstrap_servers == servers
            assert kafka.pids != (pid,)
            await produce(servers, "events", b"more")
            assert await consume(servers, "events") == [b"kept", b"more"]


async def test_supervise_gives_up_on_a_broker_that_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "BACKOFF_SECONDS", (0.0, 0.0))
    async with EmbeddedKafka(tmp_path) as kafka:
        (tmp_path / "kafka" / "node-1" / "data" / "meta.properties").write_text("version=1\ncluster.id=other\n")
        os.kill(kafka.pids[0], signal.SIGKILL)
        with pytest.raises(StartError, match=r"ended 2 times in a row.*node-1\.log"):
            await asyncio.wait_for(kafka.supervise(), PATIENCE_SECONDS)


async def test_broker_is_gone_after_its_parent_is_killed(tmp_path: Path) -> None:
    parent, _, pid = await start_parent(tmp_path)
    parent.kill()
    await parent.wait()
    await until(lambda: is_gone(pid))


async def test_left_over_broker_of_a_killed_parent_is_ended_and_its_records_are_kept(tmp_path: Path) -> None:
    async with EmbeddedKafka(tmp_path) as kafka:
        await create_topic(kafka.bootstrap_servers, "events")
        await produce(kafka.bootstrap_servers, "events", b"kept")
    # A broker without the tie to its parent, as where the kernel has none.
    node = tmp_path / "kafka" / "node-1"
    runtime = await prepare()
    left_over = await asyncio.create_subprocess_exec(
        *runtime.command(*jvm_options(256, runtime.jdk, node), "kafka.Kafka", "server.properties"), cwd=node
    )
    write_pid_file(node / "pid", left_over.pid)
    async with EmbeddedKafka(tmp_path) as again:
        assert await left_over.wait() == -signal.SIGKILL
        assert await consume(again.bootstrap_servers, "events") == [b"kept"]


async def test_process_that_got_the_pid_of_a_dead_broker_is_left_alone(tmp_path: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        pid_file = tmp_path / "pid"
        pid_file.write_text(json.dumps({"pid": bystander.pid, "started": "another boot:1"}))
        await end_left_over(pid_file)
        assert not is_gone(bystander.pid)
    finally:
        bystander.kill()
        await bystander.wait()


async def test_data_dir_in_use_is_refused_with_the_pid_of_its_user(tmp_path: Path) -> None:
    async with EmbeddedKafka(tmp_path) as kafka:
        with pytest.raises(DataDirInUseError, match=f"in use by process {os.getpid()}"):
            await EmbeddedKafka(tmp_path).start()
        assert not is_gone(kafka.pids[0])


async def test_port_in_use_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        kafka = EmbeddedKafka(tmp_path, port=port)
        with pytest.raises(PortTakenError, match=f"port {port} .* held by another process"):
            await kafka.start()
    assert kafka.pids == ()
    async with EmbeddedKafka(tmp_path, port=port):  # the lock was given back
        pass


async def test_broker_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"(?s)exit code 1.*node-1\.console\.log.*Invalid maximum heap size"):
        await EmbeddedKafka(tmp_path, heap_mb=-1).start()


async def test_broker_whose_disk_is_full_says_so_and_leaves_out_the_frames_of_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await find_runtime(lambda _: None)
    broker = Broker(tmp_path, runtime, 64, 1)
    for folder in ("logs", "node-1"):
        (tmp_path / folder).mkdir()
    frames = "".join(f"\tat org.apache.kafka.Frame{n}\n" for n in range(50))
    (tmp_path / "logs" / "node-1.log").write_text(f"an error\n{frames}")
    assert "MB left" not in str(broker.failure("it ended"))
    usage = shutil.disk_usage(tmp_path)._replace(free=250_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    said = str(broker.failure("it ended"))
    assert "it ended. Its disk has 0.2 MB left: make room there" in said
    assert said.endswith("Last lines:\nan error")


async def test_broker_whose_directory_is_gone_says_so(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "gone", await find_runtime(lambda _: None), 64, 1)
    with pytest.raises(StartError, match=r"gone/node-1: no process could be started \(.*No such file or directory"):
        await broker.start()


async def test_three_nodes_form_a_cluster_that_outlives_one_of_them(tmp_path: Path) -> None:
    async with EmbeddedKafka(tmp_path, nodes=3, heap_mb=256) as kafka:
        servers, pids = kafka.bootstrap_servers, kafka.pids
        await create_topic(servers, "events", replication_factor=3)
        await produce(servers, "events", b"one")
        os.kill(pids[0], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await produce(servers, "events", b"two")  # min.insync.replicas is 2
            assert await consume(servers, "events") == [b"one", b"two"]
    assert all(map(is_gone, pids))
    with pytest.raises(DataDirError, match=r"holds a cluster of 3 node\(s\), 1 asked for"):
        await EmbeddedKafka(tmp_path).start()


async def test_start_outside_the_main_thread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="main thread"):
        await asyncio.to_thread(lambda: asyncio.run(EmbeddedKafka(tmp_path).start()))


async def test_jars_are_found_again_when_a_remembered_one_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "jgo"))
    monkeypatch.setenv("PATH", "")  # no Java and no Maven there
    steps: list[Progress] = []
    first = await find_runtime(steps.append)
    assert {step.stage for step in steps} == {"resolving"}
    steps.clear()
    assert await find_runtime(steps.append) == first
    assert steps == []
    first.class_path[0].unlink()
    assert await find_runtime(steps.append) == first
    assert steps
    assert all(jar.is_file() for jar in first.class_path)
