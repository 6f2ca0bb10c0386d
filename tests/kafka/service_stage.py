"""A whole service on real Kafka, a simulated provider that sends it webhooks over HTTP, and an HTTP client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from consumer.service.service import Role, Service
from consumer.settings import Settings
from consumer.simulate import CampaignPlan, Dial, HeaderSecret, Scenario, SimulatedProvider
from tests.kafka.helpers import until
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

ACCOUNT = "acme-ringg"
SPARE = "acme-revenueable"
API_KEY = "api-key-of-the-stage"
SECRET = "webhook-secret-of-the-stage"
TOKENS = {"viewer": "token-of-the-viewer", "operator": "token-of-the-operator", "approver": "token-of-the-approver"}

STANDING = Scenario(campaigns=(), speed=1.0, dial=Dial(per_second=0.001, ring_seconds=600), seed=7)
"""Nothing is dialled but the first call, which rings for ever: what registers stays terminable."""


@dataclass(frozen=True)
class Stage:
    """``settings`` start the same service again, on the same port and with the same data."""

    settings: Settings
    simulator: SimulatedProvider
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http.port}"

    async def campaign(self, calls: int, **plan: Any) -> tuple[str, list[str]]:
        """Start a campaign; gives its id and those of its calls, all of them registered at the provider."""
        now = self.simulator.now()
        campaign = self.simulator.exchange.start_campaign(
            CampaignPlan(calls=calls, register_per_second=100_000.0, repeated_people=0.0, **plan), now
        )
        await until(lambda: len(campaign.group.calls) == campaign.size)
        return campaign.id, [call.id for call in campaign.group.calls]

    async def ask(self, method: str, path: str, body: Any = None, *, role: str = "operator", **more: Any) -> "Answer":
        """Ask the operator API as the operator with ``role``; ``more`` is for aiohttp."""
        headers = {"Authorization": f"Bearer {TOKENS[role]}"} | more.pop("headers", {})
        async with self.http.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers, **more) as answer:
            return Answer(answer.status, answer.content_type, dict(answer.headers), await answer.json())

    async def eventually(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """GET until the answer is as it should be; gives it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await self.ask("GET", path)
                if answer.status == 200 and holds(answer.body):
                    return answer.body
                await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    headers: dict[str, str]
    body: Any


@asynccontextmanager
async def staged(servers: str, prefix: str, data_dir: Path, scenario: Scenario = STANDING) -> AsyncIterator[Stage]:
    """Everything but the service itself: see ``running``."""
    port = free_port()
    simulator = SimulatedProvider(
        scenario,
        port=0,
        webhook_url=f"http://127.0.0.1:{port}/webhooks/{ACCOUNT}",
        webhook_auth=HeaderSecret(SECRET),
        api_key=API_KEY,
    )
    await simulator.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as http:
            yield Stage(_settings(servers, prefix, data_dir, port, simulator.base_url), simulator, http)
    finally:
        await simulator.stop()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """Run a service; when the block is left it ends in order, and an error that ended it before is raised."""
    async with Service(settings, frozenset(Role)) as service:
        work = asyncio.create_task(service.run())
        ready = asyncio.create_task(service.ready())
        await asyncio.wait({work, ready}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        try:
            if ready.done():
                yield service
            elif not work.done():
                raise TimeoutError("the service did not become ready")
        finally:
            ready.cancel()
            service.end()
            await work


def _settings(servers: str, prefix: str, data_dir: Path, port: int, base_url: str) -> Settings:
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    return Settings.model_validate(
        {
            "accounts": {
                ACCOUNT: {
                    "provider": "ringg",
                    "api_key": API_KEY,
                    "base_url": base_url,
                    "webhook": {"auth": auth, "fields": {"campaign_id": "custom_args_values.campaign_id"}},
                },
                SPARE: {
                    "provider": "revenueable",
                    "api_key": "another-api-key",
                    "base_url": "http://127.0.0.1:9/ca/api/v0",
                    "webhook": {"auth": auth | {"secret": "another-webhook-secret"}},
                },
            },
            "kafka": {
                "bootstrap_servers": servers,
                "topic_prefix": prefix,
                "replication_factor": 1,
                "partitions": {"call-events": 2, "scope-totals": 1, "terminations": 2, "rejected": 1},
            },
            "http": {"port": port},
            "operators": [{"name": f"the-{role}", "role": role, "token": token} for role, token in TOKENS.items()],
            "data_dir": str(data_dir),
        }
    )
