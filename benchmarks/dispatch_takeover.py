"""The owner of an account is killed while 100,000 decisions of it are in the log, most of them still to be sent.

Another worker, which has no view of that partition, takes it over: it notices (the group's session has to run out), reads
the partition back, and goes on. From the kill until its first request; and how many records a second it reads back.
"""

import asyncio
import os
import signal
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from typing import Any

from benchmarks.dispatch_outage import DOWN, DOWN_KEY, decisions, order_of
from benchmarks.dispatch_stage import RoleProcess, an_account, campaign_of, playing, roles_running, verdict_figures
from benchmarks.report import Figure
from benchmarks.stage import Stage, fill
from consumer.simulate import Told
from consumer.simulate.calls import TERMINABLE

CALLS = 100_000
REQUESTS_PER_SECOND = 50
SENT_BEFORE = 3
GIVE_UP_SECONDS = 300.0
WANTED_SECONDS = 15.0


async def takeover(stage: Stage) -> list[Figure]:
    """Let one worker send, kill it, and wait for the other."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(playing(REQUESTS_PER_SECOND, api_key=DOWN_KEY))
        settings = {"confirm_within": "1h", "reconcile": "off"}
        account = an_account(provider.base_url, REQUESTS_PER_SECOND, **settings) | {"api_key": DOWN_KEY}
        campaign = await campaign_of(provider, CALLS)
        provider.exchange.judge.orders.tell(Told(campaign_id=campaign.id))
        await fill(stage.connection, [order_of(stage, DOWN)])
        (owner,) = (await stack.enter_async_context(_worker(stage, "first", account))).values()
        ids = [call.id for call in campaign.group.calls if call.status in TERMINABLE]
        await fill(stage.connection, decisions(stage, DOWN, ids))
        sent = provider.exchange.judge.counts
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while sent["terminate_requests"] < SENT_BEFORE:
                await asyncio.sleep(0.005)
            (other,) = (await stack.enter_async_context(_worker(stage, "second", account))).values()
            before, cpu, began = sent["terminate_requests"], other.cpu_seconds, time.perf_counter()
            os.kill(owner.pid, signal.SIGKILL)
            await asyncio.sleep(1.0)  # what was on its way has arrived
            before = max(before, sent["terminate_requests"])
            while sent["terminate_requests"] == before:
                await asyncio.sleep(0.005)
        seconds, cpu = time.perf_counter() - began, other.cpu_seconds - cpu
        met = seconds <= WANTED_SECONDS
        return [
            Figure("takeover: until the next request", seconds, "s", wanted=f"≤ {WANTED_SECONDS:.0f}", met=met),
            Figure("takeover: decisions read back a second of CPU", len(ids) / cpu, ""),
            *verdict_figures("takeover", provider),
        ]


def _worker(stage: Stage, name: str, account: dict[str, Any]) -> AbstractAsyncContextManager[dict[str, RoleProcess]]:
    folder = stage.folder / name
    folder.mkdir()
    return roles_running(replace(stage, folder=folder), ["terminate"], {DOWN: account})
