"""A whole service on real Kafka and simulated providers, one per account, that send it webhooks over HTTP.

The judge of each provider is told of every order that is given, so that its verdict says what was right.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import TypeAdapter

from consumer.settings import Settings
from consumer.simulate import (
    CampaignPlan,
    Dial,
    Fault,
    FaultKind,
    HeaderSecret,
    Outcomes,
    RateLimit,
    Scenario,
    SimulatedProvider,
    Told,
    Verdict,
    parse_scenario,
)
from consumer.simulate.calls import Call, Campaign, Status
from consumer.terminate import breaker, next_step, reconcile, sender
from tests.kafka.helpers import until
from tests.kafka.service_stage import Answer, running
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

TOKEN = "token-of-the-operator"
ACCOUNT_GROUP = "65f0c0ffee0000000000cafe"
RATE = {"requests_per_second": 20, "burst": 20}
LIVE = 3
"""So many calls of a simulated provider are connected, and talk for longer than any test takes."""

STANDING = Scenario(
    campaigns=(),
    seed=7,
    speed=1.0,
    dial=Dial(per_second=1_000, lines=LIVE, ring_seconds=0, talk_seconds=1_000_000),
    outcomes=Outcomes(not_answered=0, failed=0, opt_out=0),
    rate_limit=RateLimit(requests_per_second=20, burst=3, jitter_seconds=0.1),
)
"""The first calls are connected and stay so; all others wait for a line. The judge allows hardly more than ``RATE``."""

_TOLD = TypeAdapter(Told)
ENDS = ("confirmed", "missed", "not_found", "expired", "failed", "unconfirmed", "withdrawn", "shadow")
SENT = (None, "accepted", "unknown", "none_terminable", "conflict")
"""Answers after which a request counts as a send; None where none came."""


@dataclass(frozen=True)
class Player:
    """One account: its simulated provider, and the service's operator API."""

    account: str
    simulator: SimulatedProvider
    url: str
    http: aiohttp.ClientSession
    calls_known: Callable[[], int]

    @property
    def verdict(self) -> Verdict:
        return self.simulator.verdict()

    def fault(self, kind: str, **settings: Any) -> None:
        self.simulator.exchange.faults.switch_on(Fault(kind=FaultKind(kind), **settings), self.simulator.now())

    async def campaign(self, calls: int, *, told: bool = True, **plan: Any) -> Campaign:
        """Start a campaign and wait until its calls are registered and, if ``told``, known, but for lost webhooks."""
        known, lost = self.calls_known(), self.verdict.webhooks_lost
        given = {"register_per_second": 100_000.0, "repeated_people": 0.0} | plan
        campaign = self.simulator.exchange.start_campaign(CampaignPlan(calls=calls, **given), self.simulator.now())
        await until(lambda: len(campaign.group.calls) == campaign.size)
        if told:
            await until(lambda: self.verdict.webhooks_waiting == 0)
            await until(lambda: self.calls_known() >= known + calls - (self.verdict.webhooks_lost - lost))
        return campaign

    async def order(self, scope: Mapping[str, Any], **settings: Any) -> str:
        """Tell the judge, then give a stop order; gives its id."""
        self.tell(scope, allow_live=bool(settings.get("allow_live")))
        answer = await self.give(scope, **settings)
        assert answer.status == 202, answer.body
        return str(answer.body["order_id"])

    async def give(self, scope: Mapping[str, Any], **settings: Any) -> Answer:
        body = {"account": self.account, "scope": scope, "reason": "the test says so", **settings}
        return await self.ask("POST", "/stop-orders", body)

    def tell(self, scope: Mapping[str, Any], *, allow_live: bool = False) -> None:
        self.simulator.exchange.judge.orders.tell(_TOLD.validate_python({**scope, "allow_live": allow_live}))

    async def release(self, order_id: str) -> None:
        """End an order, for the judge too: it was the latest that he was told of."""
        orders = self.simulator.exchange.judge.orders
        answer = await self.ask("POST", f"/stop-orders/{order_id}/release", {"reason": "it may go on"})
        assert answer.status == 200, answer.body
        assert orders.release(str(len(orders)), self.simulator.now())

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        async with self.http.request(method, f"{self.url}/api/v1{path}", json=body) as answer:
            return Answer(answer.status, answer.content_type, dict(answer.headers), await answer.json())

    async def eventually(self, path: str, holds: Callable[[Any], bool], seconds: float = PATIENCE_SECONDS) -> Any:
        """GET until the answer is as it should be; gives it."""
        give_up_at = time.monotonic() + seconds
        while True:
            answer = await self.ask("GET", path)
            if answer.status == 200 and holds(answer.body):
                return answer.body
            assert time.monotonic() < give_up_at, f"{str(answer.body)[:2_000]} {self.verdict}"
            await asyncio.sleep(0.05)

    async def settled(self, order_id: str, matched: int, seconds: float = PATIENCE_SECONDS) -> dict[str, int]:
        """Wait until every termination of an order is over; gives how many ended how."""
        order = await self.eventually(
            f"/stop-orders/{order_id}",
            lambda told: told["counts"]["matched"] == matched == sum(told["counts"][end] for end in ENDS),
            seconds,
        )
        return {end: order["counts"][end] for end in ENDS if order["counts"][end]}

    async def terminations(self, order_id: str) -> list[dict[str, Any]]:
        """All terminations of an order."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = await self.ask("GET", f"/terminations?order_id={order_id}&limit=500{cursor}")
            assert answer.status == 200, answer.body
            items += answer.body["items"]
            if answer.body["next_cursor"] is None:
                return items
            cursor = f"&cursor={answer.body['next_cursor']}"


def sends(termination: Mapping[str, Any]) -> int:
    """How many requests of a termination may have had an effect."""
    return sum(request["answer"] in SENT for request in termination["requests"])


def outcomes(terminations: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(str(t["outcome"]) for t in terminations)


def ids(calls: Iterable[Call]) -> list[str]:
    return [call.id for call in calls]


def having(campaign: Campaign, *statuses: Status) -> list[Call]:
    return [call for call in campaign.group.calls if call.status in statuses]


@dataclass(frozen=True)
class Account:
    """What to play: a provider, its scenario where it is not ``STANDING``, and settings of the account."""

    provider: str = "ringg"
    scenario: Scenario = STANDING
    settings: Mapping[str, Any] | None = None


def scenario(**settings: Any) -> Scenario:
    """Make ``STANDING`` with some settings changed, each section as JSON would give it."""
    return parse_scenario(
        {"campaigns": [], "seed": 7, "speed": 1.0, "dial": STANDING.dial, "outcomes": STANDING.outcomes}
        | {"rate_limit": STANDING.rate_limit}
        | settings
    )


@asynccontextmanager
async def playing(
    servers: str, prefix: str, data_dir: Path, accounts: Mapping[str, Account]
) -> AsyncIterator[dict[str, Player]]:
    """Start the simulated providers and one service for all of them; quick about confirming and repeating."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        impatient(stack.enter_context(pytest.MonkeyPatch.context()))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {TOKEN}"}, timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
            )
        )
        players: dict[str, Player] = {}
        for name, account in accounts.items():
            simulator = SimulatedProvider(
                account.scenario,
                provider=account.provider,
                port=0,
                webhook_url=f"{url}/webhooks/{name}",
                webhook_auth=HeaderSecret(f"webhook-secret-of-{name}"),
                api_key=f"api-key-of-{name}",
            )
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            players[name] = Player(name, simulator, url, http, lambda: service.overview()["calls"])
        settings = _settings(servers, prefix, data_dir, port, accounts, players)
        service = await stack.enter_async_context(running(settings))
        yield players


def impatient(patch: pytest.MonkeyPatch) -> None:
    """Wait a fraction of what is waited for real providers; which waits there are stays the same."""
    patch.setattr(next_step, "UNANSWERED_SECONDS", 3.0)
    patch.setattr(next_step, "BACKOFF_SECONDS", (0.6, 0.8, 1.0))
    patch.setattr(next_step, "NONE_TERMINABLE_SECONDS", 0.3)
    patch.setattr(sender, "TOTAL_SECONDS", 2.0)
    patch.setattr(breaker, "PROBE_SECONDS", 0.6)
    patch.setattr(breaker, "BREAKER_SECONDS", (0.6,))
    patch.setattr(breaker, "THROTTLE_SECONDS", (0.5, 1.0))
    patch.setattr(reconcile, "FIRST_SWEEP_SECONDS", 1.0)


def _settings(
    servers: str,
    prefix: str,
    data_dir: Path,
    port: int,
    accounts: Mapping[str, Account],
    players: Mapping[str, Player],
) -> Settings:
    configured: dict[str, Any] = {}
    for name, account in accounts.items():
        like_ringg = account.provider in {"ringg", "revenueable"}
        fields = {"fields": {"campaign_id": "custom_args_values.campaign_id"}} if like_ringg else {}
        auth = {"type": "header", "name": "X-Webhook-Secret", "secret": f"webhook-secret-of-{name}"}
        configured[name] = {
            "provider": account.provider,
            "api_key": f"api-key-of-{name}",
            "base_url": players[name].simulator.base_url,
            "webhook": {"auth": auth, **fields},
            "rate_limit": RATE,
            "confirm_within": "1s",
            "reconcile": {"every": "2s"},
            **({"account_group_id": ACCOUNT_GROUP} if account.provider == "sonarly" else {}),
            **(account.settings or {}),
        }
    return Settings.model_validate(
        {
            "accounts": configured,
            "kafka": {
                "bootstrap_servers": servers,
                "topic_prefix": prefix,
                "replication_factor": 1,
                "partitions": {"call-events": 2, "scope-totals": 1, "terminations": 2, "rejected": 1},
            },
            "http": {"port": port},
            "operators": [{"name": "the-operator", "role": "approver", "token": TOKEN}],
            "data_dir": str(data_dir),
        }
    )
