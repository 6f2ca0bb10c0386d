"""A provider that cannot be reached, 1,000,000 terminations that wait for it, and another account beside it.

The terminate role, in a process of its own, reads all of them. Its memory with a tenth of them read and with all of them,
since they wait in the log and in the view. Then the other account is to stop ten calls: from writing the decisions until
its provider has been asked to. Both accounts lie on the same partition, and so share its view and its event loop.
"""

import asyncio
import time
from collections.abc import Iterator

from benchmarks.dispatch_stage import an_account, campaign_of, playing, roles_running, verdict_figures
from benchmarks.report import Figure
from benchmarks.stage import Stage, committed, fill
from benchmarks.world import campaign_order
from consumer.kafka.order_feed import order_record
from consumer.kafka.producer import OutRecord
from consumer.model.identity import termination_id
from consumer.model.orders import EMERGENCY, Mode
from consumer.model.status import Status
from consumer.model.termination_codec import encode_termination_record
from consumer.model.terminations import Decision
from consumer.simulate import Told
from consumer.simulate.calls import TERMINABLE

WAITING = 1_000_000
TENTH = WAITING // 10
TEN = 10
DOWN = "down"
NOBODY = "http://127.0.0.1:9"
REQUESTS_PER_SECOND = 50
GIVE_UP_SECONDS = 900.0
WANTED_GROWTH_MEGABYTES = 50
WANTED_SECONDS = 1.0


async def outage(stage: Stage) -> list[Figure]:
    """Let them wait, and look."""
    beside = _sharing_its_partition(stage)
    async with playing(REQUESTS_PER_SECOND) as provider:
        urls = {DOWN: NOBODY, beside: provider.base_url}
        settings = {"confirm_within": "1h", "reconcile": "off"}
        accounts = {
            name: an_account(url, REQUESTS_PER_SECOND, secret=f"webhook-secret-of-{name}", **settings)
            for name, url in urls.items()
        }
        accounts[DOWN]["api_key"] = "another-api-key-of-the-benchmark"
        campaign = await campaign_of(provider, TEN)
        provider.exchange.judge.orders.tell(Told(campaign_id=campaign.id))
        await fill(stage.connection, [_order(stage, name) for name in urls])
        async with roles_running(stage, ["terminate"], accounts) as roles:
            process = roles["terminate"]
            cpu = process.cpu_seconds
            await fill(stage.connection, _decisions(stage, DOWN, (f"call-{n:07}" for n in range(TENTH))))
            await _until_read(stage, TENTH)
            at_a_tenth = process.resident_bytes
            await fill(stage.connection, _decisions(stage, DOWN, (f"call-{n:07}" for n in range(TENTH, WAITING))))
            await _until_read(stage, WAITING)
            cpu = process.cpu_seconds - cpu
            at_the_end = process.resident_bytes
            began = time.perf_counter()
            ids = (call.id for call in campaign.group.calls if call.status in TERMINABLE)
            await fill(stage.connection, _decisions(stage, beside, ids))
            async with asyncio.timeout(GIVE_UP_SECONDS):
                while provider.exchange.judge.counts["terminate_ids"] < TEN:
                    await asyncio.sleep(0.002)
            seconds = time.perf_counter() - began
        growth = (at_the_end - at_a_tenth) / 1e6
        met = growth < WANTED_GROWTH_MEGABYTES
        return [
            Figure("outage: resident memory, a tenth waiting", at_a_tenth / 1e6, "MB"),
            Figure("outage: it grows with the rest by", growth, "MB", wanted=f"< {WANTED_GROWTH_MEGABYTES}", met=met),
            Figure("outage: CPU a decision", 1e6 * cpu / WAITING, "µs"),
            Figure(
                "outage: until another account's ten are asked for",
                seconds,
                "s",
                wanted=f"≤ {WANTED_SECONDS}",
                met=seconds <= WANTED_SECONDS,
            ),
            *verdict_figures("outage", provider),
        ]


def _sharing_its_partition(stage: Stage) -> str:
    partition = stage.topics.partition_of_account
    return next(name for name in (f"beside-{n}" for n in range(1_000)) if partition(name) == partition(DOWN))


def _order(stage: Stage, account: str) -> OutRecord:
    return order_record(stage.topics.stop_orders, campaign_order(f"stop-{account}", "campaign", account))


def _decisions(stage: Stage, account: str, call_ids: Iterator[str]) -> Iterator[OutRecord]:
    partition, topic = stage.topics.partition_of_account(account), stage.topics.terminations.name
    now = time.time()
    for call_id in call_ids:
        one = termination_id(account, call_id, 0)
        decision = Decision(
            *(one, account, call_id, 0, (f"stop-{account}",), Mode.ENFORCE, EMERGENCY, now, Status.REGISTERED),
            campaign_id="campaign",
            agent_id="agent",
            number="+919812345678",
            bulk=True,
            since=now,
        )
        yield OutRecord(topic, partition, one.encode(), encode_termination_record(decision))


async def _until_read(stage: Stage, wanted: int) -> None:
    group = stage.connection.group_id("terminate")
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await committed(stage.connection, group, stage.topics.terminations) < wanted:
            await asyncio.sleep(0.5)
