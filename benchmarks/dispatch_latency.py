"""From a webhook that makes a rule stop another call until the provider is asked to, while 500 webhooks a second come in.

The deciding event says that somebody opted out; another call to the same number waits. Its way through Kafka:
``call-events``, ``stop-orders`` (the rule's order), ``stop-orders`` (it is let through), ``terminations``, and the
acknowledgement of the attempt in ``termination-log``. The same four hops and one acknowledgement are taken with bare
aiokafka in turns, through the same broker under the same load. What is measured has the HTTP requests at both ends in it too.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Self
from unittest.mock import patch

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.dispatch_stage import an_account, campaign_of, playing, roles_running, verdict_figures
from benchmarks.report import Figure, percentile
from benchmarks.stage import Stage
from benchmarks.world import ACCOUNT_NAME, SECRET, PlannedCall, processed, registered
from consumer.simulate import SimulatedProvider, Told
from consumer.simulate.calls import TERMINABLE, Call

SAMPLES = 200
WARM_UP = 20
EVENTS_PER_SECOND = 500
AT_ONCE = 10
HOPS = 4
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
            _Webhooks(running["ingest"].url) as webhooks,
            _hops(stage) as hops,
        ):
            sampler = _Sampler(provider, webhooks, hops)
            await sampler.prepare()
            async with asyncio.TaskGroup() as group:
                load = group.create_task(webhooks.load())
                await asyncio.sleep(SETTLED_SECONDS)
                await sampler.take(WARM_UP)
                sampler.bare.clear()
                sampler.taken.clear()
                began, sent = time.perf_counter(), webhooks.sent
                await sampler.take(SAMPLES)
                rate = (webhooks.sent - sent) / (time.perf_counter() - began)
                load.cancel()
        return [*_figures(sampler, rate), *verdict_figures("one call", provider)]


class _Webhooks:
    """Posts webhooks to ingest."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/webhooks/{ACCOUNT_NAME}"
        self._http: aiohttp.ClientSession
        self.sent = 0

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers={"X-Webhook-Secret": SECRET})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def post(self, body: dict[str, object]) -> None:
        self.sent += 1
        async with self._http.post(self._url, data=orjson.dumps(body)) as answer:
            if answer.status != 200:
                raise RuntimeError(f"a webhook was answered with {answer.status}")

    async def load(self) -> None:
        """Register calls that nobody stops, so many a second, until cancelled."""
        numbers = count()
        async with asyncio.TaskGroup() as group:
            due = time.perf_counter()
            while True:
                for n in (next(numbers) for _ in range(AT_ONCE)):
                    call = PlannedCall(f"load-{n}", "campaign-of-the-load", "agent", f"+9199{n:08d}")
                    group.create_task(self.post(registered(call)))
                due += AT_ONCE / EVENTS_PER_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))


class _Hops:
    """Bare hops through a topic that nobody else writes to."""

    def __init__(self, topic: str, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        self._topic = topic
        self._producer = producer
        self._consumer = consumer

    async def seconds(self) -> float:
        """Take as many as lie on the way of a stop, one after the other, and an acknowledgement."""
        began = time.perf_counter()
        for _ in range(HOPS):
            await self._producer.send(self._topic, b"hop", partition=0)
            await self._consumer.getone()
        await self._producer.send_and_wait(self._topic, b"acknowledged", partition=0)
        took = time.perf_counter() - began
        await self._consumer.getone()
        return took


@asynccontextmanager
async def _hops(stage: Stage) -> AsyncIterator[_Hops]:
    topic = stage.topics.rejected.name
    async with (
        AIOKafkaProducer(bootstrap_servers=stage.servers, acks="all") as producer,
        AIOKafkaConsumer(topic, bootstrap_servers=stage.servers, auto_offset_reset="latest") as consumer,
    ):
        for tp in consumer.assignment():
            await consumer.position(tp)
        yield _Hops(topic, producer, consumer)


class _Sampler:
    """Takes a bare sample and one of the service in turns."""

    def __init__(self, provider: SimulatedProvider, webhooks: _Webhooks, hops: _Hops) -> None:
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
            self.bare.append(await self._hops.seconds())
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
