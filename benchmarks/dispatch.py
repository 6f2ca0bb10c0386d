"""How fast calls are stopped, and what the provider says of it.

* **A campaign**: 100,000 known calls, one order, 50 requests a second. From giving the order until the provider has the last
  request, divided by what the rate allows: 1,000 requests at 50/s, 20 s. No request may leave before it is full.
* **One call**: at 500 events a second, from a webhook that makes a rule stop another call until the provider is asked to.
  Divided by the bare Kafka hops on that way, taken in turns in the same run (``dispatch_latency.py``).
* **A takeover**: the owner of an account dies with 100,000 decisions in the log (``dispatch_takeover.py``).
* **An outage**: 1,000,000 terminations wait for a provider that cannot be reached, and then can (``dispatch_outage.py``).
* The provider judges each: calls cut that nobody ordered, live calls cut, requests over its limit.

Correlate, guard, terminate and ingest are processes of their own, which may use every core, as the load of webhooks may; the
provider shares one with the broker.
"""

import asyncio
import time

from benchmarks.dispatch_latency import latency
from benchmarks.dispatch_outage import outage
from benchmarks.dispatch_stage import an_account, campaign_of, playing, roles_running, verdict_figures
from benchmarks.dispatch_takeover import takeover
from benchmarks.report import Figure
from benchmarks.stage import Stage, committed, ends, fill, staged
from benchmarks.world import ACCOUNT_NAME, PlannedCall, Size, campaign_order
from consumer.kafka.order_feed import order_record
from consumer.kafka.producer import Producer
from consumer.simulate import SimulatedProvider, Told
from consumer.simulate.calls import TERMINABLE, Campaign

CALLS = 100_000
BATCH = 100
REQUESTS_PER_SECOND = 50
BOUND_SECONDS = CALLS / BATCH / REQUESTS_PER_SECOND
WANTED = 1.05
GIVE_UP_SECONDS = 300.0
AN_HOUR = "1h"


async def measure() -> list[Figure]:
    """Run every part."""
    async with staged(Size(calls=0), "dispatch.") as stage:
        stopped = await _stop_a_campaign(stage)
    async with staged(Size(calls=0), "one-call.") as stage:
        one_call = await latency(stage)
    async with staged(Size(calls=0), "takeover.") as stage:
        taken_over = await takeover(stage)
    async with staged(Size(calls=0), "outage.") as stage:
        return [*stopped, *one_call, *taken_over, *await outage(stage)]


async def _stop_a_campaign(stage: Stage) -> list[Figure]:
    async with playing(REQUESTS_PER_SECOND) as provider:
        settings = {"confirm_within": AN_HOUR, "reconcile": "off"}
        accounts = {ACCOUNT_NAME: an_account(provider.base_url, REQUESTS_PER_SECOND, **settings)}
        async with roles_running(stage, ["correlate", "terminate"], accounts) as roles:
            campaign = await campaign_of(provider, CALLS)
            await _make_known(stage, campaign)
            provider.exchange.judge.orders.tell(Told(campaign_id=campaign.id))
            before = {role: process.cpu_seconds for role, process in roles.items()}
            seconds = await _order(stage, provider, campaign)
            cpu = {role: process.cpu_seconds - before[role] for role, process in roles.items()}
            memory = roles["terminate"].resident_bytes
        requests = provider.exchange.judge.counts["terminate_requests"]
        ratio = seconds / BOUND_SECONDS
        per_call = [
            Figure(f"campaign: CPU a call, {role}", 1e6 * used / CALLS, "µs") for role, used in sorted(cpu.items())
        ]
        return [
            Figure("campaign: time to stop ÷ bound", ratio, "x", wanted=f"≤ {WANTED}", met=ratio <= WANTED),
            Figure("campaign: time to stop", seconds, "s"),
            Figure("campaign: requests", requests, "", wanted=f"{CALLS // BATCH}", met=requests == CALLS // BATCH),
            *per_call,
            Figure("campaign: resident memory, terminate", memory / 1e6, "MB"),
            *verdict_figures("campaign", provider),
        ]


async def _make_known(stage: Stage, campaign: Campaign) -> None:
    """Tell of the waiting calls, and wait until correlate has folded all of them."""
    calls = [
        PlannedCall(call.id, campaign.id, campaign.agent_id, call.number)
        for call in campaign.group.calls
        if call.status in TERMINABLE
    ]
    await fill(stage.connection, (stage.world.registered(call) for call in calls))
    end = sum((await ends(stage.connection, stage.topics.call_events)).values())
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await committed(stage.connection, stage.connection.group_id("correlate"), stage.topics.call_events) < end:
            await asyncio.sleep(0.2)


async def _order(stage: Stage, provider: SimulatedProvider, campaign: Campaign) -> float:
    """Give the order; gives the seconds until the provider has been asked to stop every call."""
    producer = Producer(stage.connection)
    await producer.start()
    named = provider.exchange.judge.counts
    began = time.perf_counter()
    await producer.publish_all([order_record(stage.topics.stop_orders, campaign_order("stop-all", campaign.id))])
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while named["terminate_ids"] < CALLS:
            await asyncio.sleep(0.005)
    seconds = time.perf_counter() - began
    await producer.stop()
    return seconds
