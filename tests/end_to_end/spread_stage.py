"""One installation of several processes: a console and an ingest in this one, what holds calls and accounts in others."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from consumer.kafka.connection import Connection
from consumer.kafka.members import Groups, Member
from consumer.kafka.topics import Topics
from consumer.service.service import Role, Service
from consumer.settings import Settings
from tests.end_to_end.command_line import environment
from tests.end_to_end.service_process import API_KEY, SECRET, TOKEN, ringg_envelope
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

ACCOUNT = "acme-ringg"
PREFIX = "elsewhere."
PARTITIONS = 4
CALLS = [f"call-{n}" for n in range(24)]


def configuration(servers: str, folder: Path, *, port: int = 0) -> dict[str, Any]:
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    account = {
        "provider": "ringg",
        "api_key": API_KEY,
        "base_url": "http://127.0.0.1:9",
        "webhook": {"auth": auth},
        "reconcile": "off",
    }
    return {
        "accounts": {ACCOUNT: account},
        "kafka": {
            "bootstrap_servers": servers,
            "topic_prefix": PREFIX,
            "replication_factor": 1,
            "partitions": {"call-events": PARTITIONS, "scope-totals": 1, "terminations": 1, "rejected": 1},
        },
        "http": {"port": port},
        "operators": [{"name": "test", "role": "viewer", "token": TOKEN}],
        "data_dir": str(folder / "data"),
    }


class Process:
    """One role in a process of its own, on any free port."""

    def __init__(self, role: str, servers: str, folder: Path) -> None:
        folder.mkdir()
        self.role = role
        self.log = folder / "log"
        self.config = folder / "callbreaker.yaml"
        self.config.write_text(yaml.safe_dump(configuration(servers, folder)))
        self.node = folder / "data" / "node"
        self.pid = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "consumer", self.role, "--config", str(self.config)),
                env=environment(),
                stdout=log,
                stderr=log,
            )
        self.pid = process.pid
        try:
            yield self
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGKILL)
            await process.wait()

    def is_it(self, member: Member) -> bool:
        return self.node.exists() and self.node.read_text() == member.node


@dataclass(frozen=True)
class Installation:
    """A console and an ingest in this process; two correlates and a terminate in others."""

    url: str
    webhooks_url: str
    groups: Groups
    topics: Topics
    workers: tuple[Process, ...]
    http: aiohttp.ClientSession
    servers: str

    async def get(self, path: str) -> tuple[int, Any, dict[str, str]]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.http.get(f"{self.url}/api/v1{path}", headers=headers) as answer:
            return answer.status, await answer.json(), dict(answer.headers)

    async def call(self, call_id: str) -> tuple[int, Any, dict[str, str]]:
        return await self.get(f"/calls/{ACCOUNT}/{call_id}")

    async def webhook(self, call_id: str, status: str = "registered") -> None:
        url = f"{self.webhooks_url}/webhooks/{ACCOUNT}"
        headers = {"X-Webhook-Secret": SECRET}
        async with self.http.post(url, json=ringg_envelope(call_id, status), headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def members(self) -> tuple[Member, ...]:
        """The correlate workers once each holds its half."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    found = await self.groups.members("correlate", asked_after=time.monotonic())
                except Exception:  # noqa: BLE001 -- a rebalance, or the group is not there yet
                    found = ()
                if sorted(len(member.partitions) for member in found) == [PARTITIONS // 2] * 2:
                    return found
                await asyncio.sleep(0.1)

    async def held_by(self, worker: Process) -> list[str]:
        """The calls whose partitions a worker holds."""
        (member,) = [member for member in await self.members() if worker.is_it(member)]
        return [one for one in CALLS if self.topics.partition_of_call(ACCOUNT, one) in member.partitions]

    async def until_found(self, call_id: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Ask until it is found; whatever happens meanwhile, it is never said not to be there."""
        async with asyncio.timeout(seconds):
            while True:
                status, body, _ = await self.call(call_id)
                if status == 200:
                    return body
                assert status == 503, body
                await asyncio.sleep(0.1)


@asynccontextmanager
async def served(settings: Settings, role: Role) -> AsyncIterator[Service]:
    async with Service(settings, frozenset({role})) as service:
        work = asyncio.create_task(service.run())
        try:
            await asyncio.wait_for(service.ready(), PATIENCE_SECONDS)
            yield service
        finally:
            service.end()
            await work


@asynccontextmanager
async def spread_out(servers: str, folder: Path) -> AsyncIterator[Installation]:
    """Start everything, and let each call of ``CALLS`` register."""
    port, webhooks_port = free_port(), free_port()
    console = Settings.model_validate(configuration(servers, folder / "console", port=port))
    ingest = Settings.model_validate(configuration(servers, folder / "ingest", port=webhooks_port))
    roles = {"a": "correlate", "b": "correlate", "terminate": "terminate"}
    workers = [Process(role, servers, folder / name) for name, role in roles.items()]
    topics = Topics.named(PREFIX, call_events=PARTITIONS, terminations=1)
    groups = Groups(Connection(servers, topic_prefix=PREFIX))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(console, Role.CONSOLE))
        await stack.enter_async_context(served(ingest, Role.INGEST))
        for worker in workers:
            await stack.enter_async_context(worker.running())
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS))
        )
        await groups.start()
        stack.push_async_callback(groups.stop)
        urls = (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{webhooks_port}")
        installation = Installation(*urls, groups, topics, tuple(workers), http, servers)
        await installation.members()
        for call_id in CALLS:
            await installation.webhook(call_id)
        yield installation
