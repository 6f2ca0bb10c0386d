"""What the benchmarks of dispatching stand on: the roles in processes of their own, and a simulated provider that judges."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import yaml

from benchmarks.report import Figure
from benchmarks.stage import Stage
from benchmarks.world import CAMPAIGN_FIELD, SECRET
from consumer.simulate import CampaignPlan, Dial, Outcomes, RateLimit, Scenario, SimulatedProvider
from consumer.simulate.calls import Call, Campaign

API_KEY = "api-key-of-the-benchmark"
READY_SECONDS = 60.0
LIVE = 3
"""So many calls of the provider are connected and stay so: cutting one would be wrong."""


@dataclass(frozen=True, slots=True)
class RoleProcess:
    """One role in a process of its own, as ``callbreaker ROLE`` runs it."""

    role: str
    pid: int
    url: str
    log: Path

    def said(self) -> str:
        """The end of what it has said."""
        return self.log.read_text()[-1_000:]

    @property
    def cpu_seconds(self) -> float:
        return sum(psutil.Process(self.pid).cpu_times()[:2])

    @property
    def resident_bytes(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)

    def longest_blocks(self) -> tuple[float, float]:
        """How long its loop was blocked at most, in seconds: of the clock, and of its own CPU time."""
        ticks = [orjson.loads(line) for line in self.log.with_name("ticks").read_bytes().splitlines()]
        return max(tick["late"] for tick in ticks), max(tick["busy"] for tick in ticks)


@asynccontextmanager
async def playing(requests_per_second: int, *, api_key: str = API_KEY) -> AsyncIterator[SimulatedProvider]:
    """Start a provider whose calls wait, but for some that are connected; it sends no webhooks."""
    limit = RateLimit(requests_per_second=requests_per_second, burst=5, jitter_seconds=0.1)
    scenario = Scenario(
        campaigns=(),
        seed=7,
        speed=1.0,
        dial=Dial(per_second=1_000, lines=LIVE, ring_seconds=0, talk_seconds=1_000_000),
        outcomes=Outcomes(not_answered=0, failed=0, opt_out=0),
        rate_limit=limit,
    )
    provider = SimulatedProvider(scenario, port=0, webhook_url=None, api_key=api_key)
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()


async def campaign_of(provider: SimulatedProvider, calls: int) -> Campaign:
    """Register a campaign whole, and wait until its first calls are connected."""
    plan = CampaignPlan(calls=calls + LIVE, register_per_second=1_000_000.0, repeated_people=0.0)
    campaign = provider.exchange.start_campaign(plan, provider.now())
    while len(campaign.group.calls) < campaign.size or len(live_of(campaign)) < LIVE:
        await asyncio.sleep(0.05)
    return campaign


def live_of(campaign: Campaign) -> list[Call]:
    return [call for call in campaign.group.calls if call.live]


def verdict_figures(part: str, provider: SimulatedProvider) -> list[Figure]:
    """What the provider's judge says."""
    verdict = provider.verdict()
    told = {
        "cut though nobody ordered it": verdict.terminated_unordered,
        "live calls cut": verdict.live_calls_cut,
        "requests over the limit": verdict.requests_over_rate,
    }
    return [Figure(f"{part}: {name}", value, "", wanted="0", met=value == 0) for name, value in told.items()]


@asynccontextmanager
async def roles_running(
    stage: Stage,
    roles: Sequence[str],
    accounts: dict[str, dict[str, Any]],
    rules: Iterable[dict[str, Any]] = (),
    *,
    module: str = "consumer",
) -> AsyncIterator[dict[str, RoleProcess]]:
    """Start each role in a process that may use every core, and wait until all of them are ready.

    ``module`` is what runs it: the product, or what also notes how long its event loop is blocked.
    """
    async with AsyncExitStack() as stack:
        started = {
            role: await stack.enter_async_context(_running(stage, role, accounts, rules, module)) for role in roles
        }
        async with aiohttp.ClientSession() as http, asyncio.timeout(READY_SECONDS):
            for process in started.values():
                while not await _ready(http, process.url):
                    if not psutil.pid_exists(process.pid):
                        raise RuntimeError(f"{process.role} ended: {process.said()}")
                    await asyncio.sleep(0.1)
        yield started


def an_account(base_url: str, requests_per_second: int, *, secret: str = SECRET, **settings: Any) -> dict[str, Any]:
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": secret}
    return {
        "provider": "ringg",
        "api_key": API_KEY,
        "base_url": base_url,
        "webhook": {"auth": auth, "fields": dict(CAMPAIGN_FIELD)},
        "rate_limit": {"requests_per_second": requests_per_second, "burst": 5},
        **settings,
    }


@asynccontextmanager
async def _running(
    stage: Stage, role: str, accounts: dict[str, dict[str, Any]], rules: Iterable[dict[str, Any]], module: str
) -> AsyncIterator[RoleProcess]:
    folder = stage.folder / role
    folder.mkdir(exist_ok=True)
    port = free_port()
    kafka = {"bootstrap_servers": stage.servers, "topic_prefix": stage.connection.topic_prefix}
    config = folder / "callbreaker.yaml"
    settings = {
        "accounts": accounts,
        "rules": list(rules),
        "kafka": {**kafka, "replication_factor": 1},
        "http": {"port": port},
        "data_dir": str(folder / "data"),
    }
    config.write_text(yaml.safe_dump(settings))
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, role, "--config", str(config)),
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[1],
        )
    os.sched_setaffinity(process.pid, set(stage.cores))
    try:
        yield RoleProcess(role, process.pid, f"http://127.0.0.1:{port}", folder / "log")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
