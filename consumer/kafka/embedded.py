"""Apache Kafka from packages alone, on loopback: one broker for a laptop, a few as a cluster for tests.

Why it is started this way: docs/decisions/0001-embedded-kafka.md.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from consumer.kafka.embedded_aot import with_aot_cache
from consumer.kafka.embedded_broker import Broker
from consumer.kafka.embedded_config import HOST, Node
from consumer.kafka.embedded_errors import (
    DataDirError,
    DataDirInUseError,
    EmbeddedKafkaError,
    OnProgress,
    PortTakenError,
    Progress,
    ResolveError,
    StartError,
)
from consumer.kafka.embedded_probe import until_answers
from consumer.kafka.embedded_runtime import Runtime, find_runtime
from consumer.kafka.embedded_state import (
    Cluster,
    load_cluster,
    locked,
    new_cluster_id,
    save_cluster,
    with_free_ports,
)

__all__ = [
    "DataDirError",
    "DataDirInUseError",
    "EmbeddedKafka",
    "EmbeddedKafkaError",
    "OnProgress",
    "PortTakenError",
    "Progress",
    "ResolveError",
    "StartError",
    "prepare",
]

PORT_ATTEMPTS = 3
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)  # then supervise gives up
STEADY_SECONDS = 60.0  # up for so long: the failures before no longer count


async def prepare(on_progress: OnProgress = lambda _: None) -> Runtime:
    """Fetch Kafka and make starts fast; costs nothing when it was done before. For a set-up step, or left to `start`.

    Raises ResolveError.
    """
    return await with_aot_cache(await find_runtime(on_progress), on_progress)


class EmbeddedKafka:
    """Brokers in processes of their own that live as long as this one, with their data in `data_dir`/kafka.

    Use it as an async context manager, from the main thread: a broker ends with the thread that started it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        nodes: int = 1,
        heap_mb: int = 384,
        on_progress: OnProgress | None = None,
    ) -> None:
        if nodes < 1:
            raise ValueError(f"a cluster has at least one node, not {nodes}")
        self._directory = data_dir.absolute() / "kafka"
        self._port = port
        self._count = nodes
        self._heap_mb = heap_mb
        self._on_progress = on_progress or (lambda _: None)
        self._held = ExitStack()
        self._brokers: tuple[Broker, ...] = ()
        self._cluster = Cluster("", ())
        self._stopping = False

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT`, one per node, separated by commas; empty before the start."""
        return ",".join(f"{HOST}:{node.client_port}" for node in self._cluster.nodes)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(broker.pid for broker in self._brokers if broker.pid is not None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return when every broker answers. Raises EmbeddedKafkaError, with nothing left running."""
        if threading.current_thread() is not threading.main_thread():
            raise StartError("embedded Kafka must be started from the main thread: a broker ends with its thread.")
        try:
            self._held.enter_context(locked(self._directory))
            try:
                await self._start()
            except BaseException:
                await self.stop()
                raise
        except OSError as error:
            raise DataDirError(
                f"{self._directory} cannot be used ({error}): make it writable, or use another."
            ) from error
        self._on_progress(Progress("ready", f"Kafka on {self.bootstrap_servers}", 1.0))

    async def stop(self) -> None:
        """End every broker: SIGTERM, a bounded wait, SIGKILL. Cancel `supervise` before."""
        self._stopping = True
        try:
            await _each(broker.stop() for broker in self._brokers)
        finally:
            self._held.close()

    async def supervise(self) -> None:
        """Start a broker again whenever it dies, on its port and with its data; runs until cancelled.

        Raises StartError when a broker ends again and again.
        """
        await _each(self._keep(broker, node) for broker, node in self._pairs())

    async def _start(self) -> None:
        self._stopping = False
        runtime = await prepare(self._on_progress)
        numbers = range(1, self._count + 1)
        self._brokers = tuple(Broker(self._directory, runtime, self._heap_mb, number) for number in numbers)
        for broker in self._brokers:
            await broker.end_left_over()
        cluster = load_cluster(self._directory, self._count)
        self._cluster = cluster or Cluster(new_cluster_id(), tuple(Node(number, 0, 0) for number in numbers))
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._take_ports()
            await _each(self._format(broker) for broker in self._brokers)
            self._on_progress(Progress("starting", f"Kafka on {self.bootstrap_servers}"))
            try:
                await _each(self._start_one(broker, node) for broker, node in self._pairs())
            except StartError:
                await _each(broker.kill() for broker in self._brokers)
                ports_are_fine = with_free_ports(self._cluster, self._port) == self._cluster
                if ports_are_fine or attempt == PORT_ATTEMPTS:
                    raise
            else:
                return

    def _take_ports(self) -> None:
        self._cluster = with_free_ports(self._cluster, self._port)
        save_cluster(self._directory, self._cluster)
        for broker, node in self._pairs():
            broker.write_settings(node, self._cluster.nodes)

    def _pairs(self) -> Iterable[tuple[Broker, Node]]:
        return zip(self._brokers, self._cluster.nodes, strict=True)

    async def _format(self, broker: Broker) -> None:
        if not broker.formatted:
            self._on_progress(Progress("formatting", str(broker.directory)))
            await broker.format(self._cluster.id)

    async def _start_one(self, broker: Broker, node: Node) -> None:
        await broker.start()
        await until_answers(broker, node, brokers=self._count)

    async def _keep(self, broker: Broker, node: Node) -> None:
        loop = asyncio.get_running_loop()
        failures, since = 0, loop.time()
        while True:
            code = await broker.wait()
            if loop.time() - since > STEADY_SECONDS:
                failures = 0
            if not self._stopping:
                if failures == len(BACKOFF_SECONDS):
                    raise broker.failure(f"it ended {failures} times in a row, the last time with exit code {code}")
                self._on_progress(Progress("restarting", f"Kafka on port {node.client_port}: exit code was {code}"))
                await asyncio.sleep(BACKOFF_SECONDS[failures])
            if self._stopping:
                return
            failures, since = failures + 1, loop.time()
            try:
                await broker.start()
                await until_answers(broker, node)
            except StartError:
                await broker.kill()
            else:
                self._on_progress(Progress("ready", f"Kafka on {self.bootstrap_servers}", 1.0))


async def _each(steps: Iterable[Coroutine[object, object, None]]) -> None:
    """Run the steps together; the first error ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
