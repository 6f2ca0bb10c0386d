"""``callbreaker correlate`` in processes of their own, one folder each, that share a broker."""

import asyncio
import re
import signal
import sys
from pathlib import Path
from typing import Self

import aiohttp
import yaml

from tests.end_to_end.service_process import ACCOUNT, API_KEY, SECRET
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

HELD = re.compile(r'^callbreaker_view_position\{partition="(\d+)",role="correlate",.*\} ', re.MULTILINE)
COMMAND = """
from consumer.kafka import reader
reader.SESSION_TIMEOUT_MS, reader.HEARTBEAT_MS = {session_ms}, {session_ms} // 6
from consumer.cli import main
main()
"""


class WorkerProcess:
    """One worker.

    ``session_ms`` is after how long of silence its group takes it for dead; ``broken_by`` is Python that runs in it first.
    """

    def __init__(
        self, folder: Path, servers: str, prefix: str, partitions: int, *, session_ms: int, broken_by: str = ""
    ) -> None:
        port = free_port()
        auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
        settings = {
            "accounts": {ACCOUNT: {"provider": "ringg", "api_key": API_KEY, "webhook": {"auth": auth}}},
            "kafka": {
                "bootstrap_servers": servers,
                "topic_prefix": prefix,
                "replication_factor": 1,
                "partitions": {"call-events": partitions, "scope-totals": 1, "terminations": 1, "rejected": 1},
            },
            "http": {"port": port},
            "data_dir": str(folder / "data"),
        }
        folder.mkdir()
        self.folder = folder
        self.views = folder / "data" / "views" / "correlate"
        self.log = folder / "worker.log"
        self._config = folder / "callbreaker.yaml"
        self._config.write_text(yaml.safe_dump(settings))
        self._command = broken_by + COMMAND.format(session_ms=session_ms)
        self._url = f"http://127.0.0.1:{port}"
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end(signal.SIGKILL)

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", self._command, "correlate", "--config", str(self._config), stdout=log, stderr=log
            )

    def tell(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        assert self.process
        if self.process.returncode is None:
            self.tell(how)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)

    async def held(self) -> set[int]:
        """The partitions that it holds and has read; none while it does not answer, or is not ready."""
        assert self.process
        assert self.process.returncode is None, self.log.read_text()[-3000:]
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
                async with http.get(f"{self._url}/readyz") as answer:
                    if answer.status != 200:
                        return set()
                async with http.get(f"{self._url}/metrics") as answer:
                    return {int(partition) for partition in HELD.findall(await answer.text())}
        except (aiohttp.ClientError, TimeoutError):
            return set()


async def share(*workers: WorkerProcess, partitions: int, seconds: float = PATIENCE_SECONDS) -> list[set[int]]:
    """Wait until these workers hold everything between them, evenly; gives the share of each."""
    held: list[set[int]] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                held = [await worker.held() for worker in workers]
                sizes = sorted(map(len, held))
                if (
                    set().union(*held) == set(range(partitions))
                    and sum(sizes) == partitions
                    and sizes[-1] - sizes[0] < 2
                ):
                    return held
                await asyncio.sleep(0.1)
    except TimeoutError:
        logs = "\n".join(f"{worker.folder.name}:\n{worker.log.read_text()[-2000:]}" for worker in workers)
        raise AssertionError(f"{held} are held\n{logs}") from None
