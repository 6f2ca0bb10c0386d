"""One broker: its directory, its process, its log."""

import asyncio
import contextlib
import shutil
from collections import deque
from pathlib import Path

from consumer.kafka.embedded_config import Node, jvm_options, log4j2_properties, server_properties
from consumer.kafka.embedded_errors import StartError
from consumer.kafka.embedded_process import end, end_left_over, spawn, write_pid_file
from consumer.kafka.embedded_runtime import Runtime

RUN_SECONDS = 60.0
STOP_SECONDS = 10.0
LOG_LINES = 20
LITTLE_ROOM_BYTES = 64 << 20
"""A broker that has run out of room says so in many ways, or of anything else."""


class Broker:
    """Owns `kafka/node-N`: `data` is there only once it is formatted, because it is renamed into place."""

    def __init__(self, directory: Path, runtime: Runtime, heap_mb: int, node_id: int) -> None:
        self.directory = directory / f"node-{node_id}"
        self._log = directory / "logs" / f"node-{node_id}.log"
        self._console = directory / "logs" / f"node-{node_id}.console.log"
        self._pid_file = self.directory / "pid"
        self._runtime = runtime
        self._options = jvm_options(heap_mb, runtime.jdk, self.directory)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def formatted(self) -> bool:
        return (self.directory / "data").exists()

    async def end_left_over(self) -> None:
        await end_left_over(self._pid_file)

    def write_settings(self, node: Node, nodes: tuple[Node, ...]) -> None:
        shutil.rmtree(self.directory / "tmp", ignore_errors=True)
        (self.directory / "tmp").mkdir(parents=True)
        self._log.parent.mkdir(exist_ok=True)
        (self.directory / "log4j2.properties").write_text(log4j2_properties(f"../logs/{self._log.name}"))
        for name, log_dir in (("server.properties", "data"), ("format.properties", "data.new")):
            (self.directory / name).write_text(server_properties(node, nodes, log_dir))

    async def format(self, cluster_id: str) -> None:
        """Make the data directory (kafka.tools.StorageTool). Raises StartError."""
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        await self.run("formatting", "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", "format.properties")
        fresh.rename(self.directory / "data")

    async def run(self, what: str, *arguments: str) -> None:
        """Run a JVM in the broker's place to its end. Raises StartError, `what` says of which step."""
        await self._spawn(*arguments)
        try:
            async with asyncio.timeout(RUN_SECONDS):
                code = await self.wait()
        except TimeoutError:
            raise self.failure(f"{what} took longer than {RUN_SECONDS:g} s") from None
        finally:
            await self.kill()
        if code:
            raise self.failure(f"{what} ended with exit code {code}")

    async def start(self, *options: str) -> None:
        """Start the broker, with further options for its JVM; it does not answer yet. Raises StartError."""
        await self._spawn(*options, "kafka.Kafka", "server.properties")

    async def wait(self) -> int:
        """Wait for the end of the process; its exit code, -N after signal N."""
        assert self._process is not None
        return await self._process.wait()

    async def kill(self) -> None:
        await self.stop(grace_seconds=0)

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        if self._process is not None:
            await end(self._process, grace_seconds)
            self._pid_file.unlink(missing_ok=True)

    def failure(self, what: str) -> StartError:
        return StartError(
            f"embedded Kafka in {self.directory}: {what}.{self._short_of_room()} "
            f"The whole log: {self._log} and {self._console}. Last lines:\n{self._last_lines()}"
        )

    def _short_of_room(self) -> str:
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError:  # the directory is not there any more
            return ""
        if free >= LITTLE_ROOM_BYTES:
            return ""
        return f" Its disk has {free / 1e6:.1f} MB left: make room there and start again, what was accepted is there."

    async def _spawn(self, *arguments: str) -> None:
        command = self._runtime.command(*self._options, *arguments)
        try:
            with self._console.open("wb") as console:
                self._process = await spawn(command, cwd=self.directory, output=console)
            write_pid_file(self._pid_file, self._process.pid)
        except OSError as error:
            raise self.failure(f"no process could be started ({error})") from error

    def _last_lines(self) -> str:
        lines: deque[str] = deque(maxlen=LOG_LINES)
        for path in (self._log, self._console):
            with contextlib.suppress(OSError), path.open(errors="replace") as log:
                lines.extend(line.rstrip() for line in log if not line.startswith("\tat "))  # the frames of a trace
        return "\n".join(lines)
