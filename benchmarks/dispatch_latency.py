"""From a webhook that makes a rule stop another call until the provider is asked to, while 500 webhooks a second come in.

The deciding event says that somebody opted out; another call to the same number waits. Its way through Kafka:
``call-events``, ``stop-orders`` (the rule's order), ``scope-totals`` (how many calls it would stop, from each partition),
``stop-orders`` (it is let through), ``terminations``, and the acknowledgement of the attempt in ``termination-log``. As many
hops and one acknowledgement are taken with bare aiokafka in turns, through the same broker under the same load. What is
measured has the HTTP requests at both ends in it too. The hops and the load are processes of their own, so that neither
waits for the other's event loop, only for the machine.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.children import Child, child
from benchmarks.dispatch_stage import an_account, campaign_of, playing, roles_running, verdict_figures
from benchmarks.report import Figure, percentile
from benchmarks.stage import Stage
from benchmarks.webhooks import Webhooks
from benchmarks.world import ACCOUNT_NAME, PlannedCall, processed, registered
from consumer.simulate import SimulatedProvider, Told
from consumer.simulate.calls import TERMINABLE, Call

SAMPLES = 200
WARM_UP = 20
EVENTS_PER_SECOND = 500
HOPS = 5
PAUSE_SECONDS = 0.05
GIVE_UP_SECONDS = 20.0
SETTLED_SECONDS = 3.0
"""So long the load comes in before anything is stopped: a rule may stop only a share of the calls that wait."""
REQUESTS_PER_SECOND = 50
WANTED = 2.0
RULES = [{"name": "opt-out", "handler": "opt_out", "mode": "enforce"}]


async def latency(stage: Stage) -> list[Figure]:
    """Take the samples."""
    settings: dict[str, Any] = {"batch": {"linger": "0s"}, "confirm_within": "1h", "reconcile": "off"}
    async with playing(REQUESTS_PER_SECOND) as provider:
        accounts = {ACCOUNT_NAME: an_account(provider.base_url, REQUESTS_PER_SECOND, **settings)}
        roles = ["correlate", "guard", "terminate", "ingest"]
        async with (
            roles_running(stage, roles, accounts, RULES) as running,
            Webhooks(running["ingest"].url) as webhooks,
            _hops(stage) as hops,
        ):
            sampler = _Sampler(provider, webhooks, hops)
            await sampler.prepare()
            async with _load(stage, running["ingest"].url) as load:
                await asyncio.sleep(SETTLED_SECONDS)
                await sampler.take(WARM_UP)
                sampler.bare.clear()
                sampler.taken.clear()
                began, sent = time.perf_counter(), (await load.ask("sent"))["sent"]
                await sampler.take(SAMPLES)
                rate = ((await load.ask("sent"))["sent"] - sent) / (time.perf_counter() - began)
        return [*_figures(sampler, rate), *verdict_figures("one call", provider)]


@asynccontextmanager
async def _hops(stage: Stage) -> AsyncIterator[Child]:
    job = {"servers": stage.servers, "topic": stage.topics.rejected.name, "hops": HOPS, "cores": stage.cores}
    async with child("benchmarks.hops_process", job, core=stage.core) as process:
        await process.said()
        yield process
        await process.end()


@asynccontextmanager
async def _load(stage: Stage, url: str) -> AsyncIterator[Child]:
    job = {"url": url, "per_second": EVENTS_PER_SECOND, "cores": stage.cores}
    async with child("benchmarks.webhooks_process", job, core=stage.core) as process:
        yield process
        await process.end()


class _Sampler:
    """Takes a bare sample and one of the service in turns."""

    def __init__(self, provider: SimulatedProvider, webhooks: Webhooks, hops: Child) -> None:
        self._provider = provider
        self._webhooks = webhooks
        self._hops = hops
        self._waiting: list[PlannedCall] = []
        self._campaign = ""
        self.bare: list[float] = []
        self.taken: list[float] = []

    async def prepare(self) -> None:
        """Let calls wait at the provider, one for each sample, and tell of them."""
        campaign = await campaign_of(self._provider, SAMPLES + WARM_UP)
        self._waiting = [
            PlannedCall(call.id, campaign.id, campaign.agent_id, call.number)
            for call in campaign.group.calls
            if call.status in TERMINABLE
        ]
        numbers = frozenset(call.number for call in self._waiting)
        self._provider.exchange.judge.orders.tell(Told(mobile_numbers=numbers))
        for call in self._waiting:
            await self._webhooks.post(registered(call))

    async def take(self, samples: int) -> None:
        for _ in range(samples):
            self.bare.append((await self._hops.ask("hops"))["seconds"])
            await asyncio.sleep(PAUSE_SECONDS)
            self.taken.append(await self._stop(self._waiting.pop()))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _stop(self, call: PlannedCall) -> float:
        """Let the person opt out in another call; gives the seconds until the provider is asked to stop this one."""
        asked: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        judge = self._provider.exchange.judge
        judged = judge.cut

        def noted(cut: Call, now: float) -> None:
            judged(cut, now)
            if cut.id == call.call_id and not asked.done():
                asked.set_result(time.perf_counter())

        with patch.object(judge, "cut", noted):
            opted_out = processed(PlannedCall(f"talked-{call.call_id}", "another", call.agent_id, call.number))
            began = time.perf_counter()
            posted = asyncio.create_task(self._webhooks.post(opted_out))
            async with asyncio.timeout(GIVE_UP_SECONDS):
                seconds = await asked - began
                await posted
        return seconds


def _figures(sampler: _Sampler, rate: float) -> list[Figure]:
    p50, p99 = (percentile(sampler.taken, share) / percentile(sampler.bare, share) for share in (0.50, 0.99))
    figures = [
        Figure("one call: webhook to request ÷ bare hops, p50", p50, "x", wanted=f"≤ {WANTED}", met=p50 <= WANTED),
        Figure("one call: webhook to request ÷ bare hops, p99", p99, "x"),
        Figure("one call: webhooks taken meanwhile", rate, "/s"),
    ]
    for name, seconds in (("webhook to request", sampler.taken), ("bare hops", sampler.bare)):
        figures += [
            Figure(f"one call: {name}, p{share}", 1_000 * percentile(seconds, share / 100), "ms") for share in (50, 99)
        ]
    return figures
