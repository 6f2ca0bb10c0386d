"""A provider that cannot be reached, 1,000,000 terminations that wait for it, and another account beside it.

The terminate role, in a process of its own, reads all of them. Its memory with a tenth, half and all of them read, since
they wait in the log and in the view, and how long its event loop was blocked meanwhile. Then the other account is to stop
ten calls: from writing the decisions until its provider has been asked to. Both accounts lie on the same partition, and so
share its view and its event loop. At last the provider is there again: how long 1,000 requests take, from when the first
call has shown that it answers, divided by what the rate allows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from benchmarks.dispatch_stage import (
    RoleProcess,
    an_account,
    campaign_of,
    free_port,
    playing,
    roles_running,
    verdict_figures,
)
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
from consumer.simulate import SimulatedProvider, Told
from consumer.simulate.calls import TERMINABLE

WAITING = 1_000_000
TENTH = WAITING // 10
BATCH = 100
TEN = 10
DOWN = "down"
DOWN_KEY = "another-api-key-of-the-benchmark"
REQUESTS_PER_SECOND = 50
AGAIN = 1_000
GIVE_UP_SECONDS = 1_800.0
WANTED_GROWTH_MEGABYTES = 50
WANTED_SECONDS = 1.0


async def outage(stage: Stage) -> list[Figure]:
    """Let them wait, look, and let the provider come back."""
    beside = _sharing_its_partition(stage)
    async with playing(REQUESTS_PER_SECOND) as provider, playing(REQUESTS_PER_SECOND, api_key=DOWN_KEY) as down:
        ten, tenth = await _waiting_at(provider, TEN), await _waiting_at(down, TENTH)
        door = Door(down)
        settings = {"confirm_within": "1h", "reconcile": "off"}
        accounts = {
            name: an_account(url, REQUESTS_PER_SECOND, secret=f"webhook-secret-of-{name}", **settings)
            for name, url in {DOWN: door.base_url, beside: provider.base_url}.items()
        }
        accounts[DOWN]["api_key"] = DOWN_KEY
        await fill(stage.connection, [order_of(stage, name) for name in accounts])
        async with roles_running(stage, ["terminate"], accounts, module="benchmarks.role_process") as roles:
            process = roles["terminate"]
            waiting = await _let_wait(stage, process, tenth)
            seconds = await _beside_it(stage, provider, beside, ten)
            met = seconds <= WANTED_SECONDS
            name, wanted = "outage: until another account's ten are asked for", f"≤ {WANTED_SECONDS}"
            figures = [*waiting, Figure(name, seconds, "s", wanted=wanted, met=met)]
            async with door.open():
                figures += await _back_again(down, process)
        return [*figures, *verdict_figures("outage", provider), *verdict_figures("outage, back again", down)]


class Door:
    """An address at which a provider is found while the door is open; nothing listens there while it is not."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self._behind = provider.port
        self._port = free_port()
        self.base_url = urlsplit(provider.base_url)._replace(netloc=f"127.0.0.1:{self._port}").geturl()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pass on every connection."""
        async with await asyncio.start_server(self._pass_on, "127.0.0.1", self._port):
            yield

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, back))
            group.create_task(_pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def _waiting_at(provider: SimulatedProvider, calls: int) -> list[str]:
    """Let calls wait at a provider; gives their ids."""
    campaign = await campaign_of(provider, calls)
    provider.exchange.judge.orders.tell(Told(campaign_id=campaign.id))
    return [call.id for call in campaign.group.calls if call.status in TERMINABLE]


async def _let_wait(stage: Stage, process: RoleProcess, first: list[str]) -> list[Figure]:
    """Decide to stop the first calls and very many more; what the process makes of it, at a tenth, half, and all."""
    cpu, read = process.cpu_seconds, 0
    resident: list[float] = []
    for wanted in (TENTH, WAITING // 2, WAITING):
        ids = first if wanted == TENTH else (f"call-{n:07}" for n in range(read, wanted))
        await fill(stage.connection, decisions(stage, DOWN, ids))
        await _until_read(stage, wanted)
        read = wanted
        resident.append(process.resident_bytes / 1e6)
    cpu = process.cpu_seconds - cpu
    growth = resident[-1] - resident[0]
    late, busy = process.longest_blocks()
    return [
        Figure("outage: resident memory, a tenth waiting", resident[0], "MB"),
        Figure("outage: resident memory, half of them waiting", resident[1], "MB"),
        Figure(
            "outage: it grows from a tenth to all by",
            growth,
            "MB",
            wanted=f"< {WANTED_GROWTH_MEGABYTES}",
            met=growth < WANTED_GROWTH_MEGABYTES,
        ),
        Figure("outage: CPU a decision", 1e6 * cpu / WAITING, "µs"),
        Figure("outage: longest block of the event loop", 1e3 * late, "ms"),
        Figure("outage: longest block of it, CPU", 1e3 * busy, "ms"),
    ]


async def _beside_it(stage: Stage, provider: SimulatedProvider, account: str, call_ids: list[str]) -> float:
    """Stop some calls of another account; gives the seconds until its provider has been asked to."""
    began = time.perf_counter()
    await fill(stage.connection, decisions(stage, account, call_ids))
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while provider.exchange.judge.counts["terminate_ids"] < len(call_ids):
            await asyncio.sleep(0.002)
    return time.perf_counter() - began


async def _back_again(provider: SimulatedProvider, process: RoleProcess) -> list[Figure]:
    """Count requests once the provider answers again; the first names one call, to see whether it does."""
    counts = provider.exchange.judge.counts
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not counts["terminate_requests"]:
            await asyncio.sleep(0.005)
        began, cpu = time.perf_counter(), process.cpu_seconds
        while counts["terminate_requests"] <= AGAIN:
            await asyncio.sleep(0.005)
    seconds = time.perf_counter() - began
    sent = counts["terminate_ids"]
    return [
        Figure("outage: 1,000 requests afterwards ÷ bound", seconds * REQUESTS_PER_SECOND / AGAIN, "x"),
        Figure("outage: calls in each of them", sent / AGAIN, "", wanted=f"{BATCH}", met=round(sent / AGAIN) == BATCH),
        Figure("outage: CPU a call afterwards", 1e6 * (process.cpu_seconds - cpu) / sent, "µs"),
        Figure("outage: resident memory afterwards", process.resident_bytes / 1e6, "MB"),
    ]


def _sharing_its_partition(stage: Stage) -> str:
    partition = stage.topics.partition_of_account
    return next(name for name in (f"beside-{n}" for n in range(1_000)) if partition(name) == partition(DOWN))


def order_of(stage: Stage, account: str) -> OutRecord:
    return order_record(stage.topics.stop_orders, campaign_order(f"stop-{account}", "campaign", account))


def decisions(stage: Stage, account: str, call_ids: Iterable[str]) -> Iterator[OutRecord]:
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
