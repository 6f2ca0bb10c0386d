"""A stage for the simulated provider: it, a receiver of its webhooks, and an HTTP client, all on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from consumer.simulate import CampaignPlan, Dial, Fault, FaultKind, Scenario, SimulatedProvider, Verdict, WebhookAuth
from consumer.simulate.calls import Call, Status
from tests.patience import PATIENCE_SECONDS

API_KEY = "key-of-the-test"

STANDING = Scenario(campaigns=(), speed=1.0, dial=Dial(per_second=0.001, ring_seconds=600), seed=7)
"""Nothing is dialled but the first call, which rings for ever: what registers stays terminable."""

QUICK = Scenario(campaigns=(), speed=200.0, seed=7)


@dataclass
class Receiver:
    """Takes webhooks; answers with `statuses` in turn, then 200."""

    statuses: list[int] = field(default_factory=list)
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append((dict(request.headers), body))
        else:
            self.refused.append(body)
        return web.Response(status=status)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for _, body in self.taken]


@dataclass
class Stage:
    simulator: SimulatedProvider
    receiver: Receiver
    http: aiohttp.ClientSession
    headers: dict[str, str]

    async def campaign(self, calls: int, **plan: Any) -> list[Call]:
        """Start a campaign and wait until all its calls have registered; gives them."""
        exchange = self.simulator.exchange
        campaign = exchange.start_campaign(
            CampaignPlan(calls=calls, register_per_second=100_000 / self.simulator.scenario.speed, **plan),
            self.simulator.now(),
        )
        await until(lambda: len(campaign.group.calls) == campaign.size)
        return campaign.group.calls

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        async with self.http.request(
            method,
            self.simulator.base_url + path,
            data=None if body is None else orjson.dumps(body),
            params=query,
            headers=self.headers,
        ) as answer:
            return answer.status, await answer.json()

    async def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.http.request(method, self.simulator.control_url + path, json=body) as answer:
            return answer.status, await answer.json()

    def fault(self, kind: str, **settings: Any) -> None:
        self.simulator.exchange.faults.switch_on(Fault(kind=FaultKind(kind), **settings), self.simulator.now())

    @property
    def verdict(self) -> Verdict:
        return self.simulator.verdict()


@asynccontextmanager
async def playing(
    scenario: Scenario = STANDING, provider: str = "ringg", webhook_auth: WebhookAuth | None = None
) -> AsyncIterator[Stage]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/webhooks", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
    simulator = SimulatedProvider(
        scenario, provider=provider, port=0, webhook_url=url, webhook_auth=webhook_auth, api_key=API_KEY
    )
    await simulator.start()
    headers = {
        "ringg": {"X-API-KEY": API_KEY},
        "revenueable": {"X-API-KEY": API_KEY},
        "bland": {"authorization": API_KEY},
    }.get(provider, {"Authorization": f"Bearer {API_KEY}"})
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as http:
            yield Stage(simulator, receiver, http, headers)
    finally:
        await simulator.stop()
        await runner.cleanup()


async def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


def ids(calls: list[Call]) -> list[str]:
    return [call.id for call in calls]


def having(calls: list[Call], status: Status) -> list[Call]:
    return [call for call in calls if call.status is status]
