"""The workers of the main process: other processes that take webhooks on the same port (``http.workers``).

Each has a producer of its own and no other role. The kernel spreads connections over all of them (SO_REUSEPORT); what is
no webhook they forward to the main process, over a Unix socket. A worker lives as long as its standard input is
open, so it ends in order with the main process, even when that is killed. When a worker dies, the service ends loudly, as it
does when a task of its own dies.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import Metric

from consumer.workers.assignment import Assignment
from consumer.workers.figures import Figures, heard, summed

logger = logging.getLogger(__name__)

START_SECONDS = 30.0
SILENT_SECONDS = 10.0
STOP_SECONDS = 15.0
LONGEST_LINE_BYTES = 64 * 1024 * 1024


class WorkerDied(Exception):
    """A worker ended although nobody told it to; what it said of it stands in the log."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: asyncio.subprocess.Process
    figures: Figures = field(default_factory=Figures)
    heard_at: float = 0.0


class Crew:
    """Starts workers, watches them, sums what they count, and ends them."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []
        self._ending = False

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(worker.process.pid for worker in self._workers if worker.process.returncode is None)

    @property
    def ready(self) -> bool:
        """Whether every worker has been heard of lately and can write to Kafka."""
        oldest = time.monotonic() - SILENT_SECONDS
        return all(worker.heard_at > oldest and not worker.figures.failing for worker in self._workers)

    @property
    def webhooks_taken(self) -> int:
        return sum(worker.figures.webhooks_taken for worker in self._workers)

    def collect(self) -> Iterable[Metric]:
        """Give the metrics of all processes together, as a Prometheus collector does."""
        return summed(worker.figures for worker in self._workers)

    async def start(self, count: int, assignment: Assignment) -> None:
        """Start ``count`` workers and wait until they take webhooks.

        Raises:
            WorkerDied: one did not come up.

        """
        told = pickle.dumps(assignment)
        for _ in range(count):
            self._workers.append(await _spawn(told))
        try:
            async with asyncio.timeout(START_SECONDS):
                for worker in self._workers:
                    await _hear(worker)
        except TimeoutError:
            raise WorkerDied(f"a worker did not come up within {START_SECONDS:.0f} s") from None

    async def run(self) -> None:
        """Listen to the workers until they are ended. Raises ``WorkerDied`` when one ends by itself."""
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(self._follow(worker))

    def end(self) -> None:
        """Let the workers take no further webhook, finish those that are on their way, and end."""
        self._ending = True
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.terminate()

    async def stop(self) -> None:
        """End the workers, and kill those that do not within ``STOP_SECONDS``."""
        self.end()
        ended = [asyncio.ensure_future(worker.process.wait()) for worker in self._workers]
        if ended:
            await asyncio.wait(ended, timeout=STOP_SECONDS)
        for pid in self.pids:
            logger.error("worker %d does not end and is killed", pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*ended)

    async def _follow(self, worker: _Worker) -> None:
        while True:
            try:
                await _hear(worker)
            except WorkerDied:
                if self._ending:
                    return
                raise


async def _spawn(told: bytes) -> _Worker:
    """Start a worker in a session of its own, so that Ctrl-C reaches only the main process, which ends it in order."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer.workers.process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=LONGEST_LINE_BYTES,
    )
    assert process.stdin is not None
    process.stdin.write(told)
    return _Worker(process)


async def _hear(worker: _Worker) -> None:
    assert worker.process.stdout is not None
    line = await worker.process.stdout.readline()
    if not line:
        code = await worker.process.wait()
        raise WorkerDied(f"the worker with pid {worker.process.pid} ended with exit code {code}; start again")
    worker.figures = heard(line)
    worker.heard_at = time.monotonic()
