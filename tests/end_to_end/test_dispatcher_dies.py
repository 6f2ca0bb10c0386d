"""Workers that die, stand still or are told to leave while they stop calls; the provider's judge says what it saw."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from consumer.kafka import reader
from consumer.model.terminations import State
from consumer.simulate import FaultKind
from tests.end_to_end.dispatch_process import DispatchProcess, a_campaign, eventually, states, unanswered
from tests.kafka.helpers import installed
from tests.patience import PATIENCE_SECONDS

RATE = 4
TAKEOVER_SECONDS = 15.0
"""What is promised; the session takes most of it, a machine that is busy with other things adds what it likes."""
STOOD_STILL_SECONDS = 13.0
"""Longer than a session, so that the group has given the account to somebody else."""

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]


async def owner_of(*workers: DispatchProcess) -> tuple[DispatchProcess, DispatchProcess]:
    """Wait until one of two workers sends for the account; gives it, and the other."""
    first, second = workers

    async def found() -> bool:
        return await first.owns() != await second.owns()

    await eventually(found)
    return (first, second) if await first.owns() else (second, first)


async def test_killed_owner_is_replaced_once_its_session_is_over_and_the_rate_is_kept(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(kafka_servers, topic_prefix) as log,
        a_campaign(log, 600, RATE) as stopping,
        AsyncExitStack() as stack,
    ):
        url = stopping.provider.base_url
        workers = [
            await stack.enter_async_context(DispatchProcess(tmp_path / name, kafka_servers, topic_prefix, url, RATE))
            for name in ("one", "two")
        ]
        owner, _ = await owner_of(*workers)
        await stopping.begin()
        await eventually(lambda: stopping.requests >= 4)
        await owner.end(signal.SIGKILL)
        before = stopping.requests
        assert reader.SESSION_TIMEOUT_MS / 1_000 < TAKEOVER_SECONDS
        await eventually(lambda: stopping.requests > before)
        in_flight = unanswered(await stopping.records())
        await eventually(lambda: len(stopping.waiting) <= 10 * len(in_flight))
        assert stopping.provider.verdict().violations == {}


async def test_owner_that_stood_still_sends_at_most_the_one_request_it_was_about_to(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(kafka_servers, topic_prefix) as log,
        a_campaign(log, 900, RATE) as stopping,
        AsyncExitStack() as stack,
    ):
        url = stopping.provider.base_url
        workers = [
            await stack.enter_async_context(DispatchProcess(tmp_path / name, kafka_servers, topic_prefix, url, RATE))
            for name in ("one", "two")
        ]
        owner, other = await owner_of(*workers)
        await stopping.begin()
        await eventually(lambda: stopping.requests >= 4)
        owner.tell(signal.SIGSTOP)
        stopped_at = time.monotonic()
        await eventually(other.owns)
        await asyncio.sleep(max(0.0, stopped_at + STOOD_STILL_SECONDS - time.monotonic()))  # the moment is the point
        owner.tell(signal.SIGCONT)
        await eventually(lambda: len(stopping.waiting) <= 30, 2 * PATIENCE_SECONDS)
        verdict = stopping.provider.verdict()
        assert verdict.violations.keys() <= {"needless_ids", "requests_over_rate"}
        assert verdict.needless_ids <= 10
        assert verdict.requests_over_rate <= 1
        assert verdict.most_requests_for_one_call <= 2


async def test_sigterm_lets_what_is_in_flight_be_answered_and_written_down(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, a_campaign(log, 300, RATE) as stopping:
        stopping.fault(FaultKind.SLOW, delay_seconds=3.0, applied=True)
        await stopping.begin()
        url = stopping.provider.base_url
        async with DispatchProcess(tmp_path / "one", kafka_servers, topic_prefix, url, RATE) as worker:
            await eventually(lambda: stopping.requests >= 2)
            assert await worker.end(signal.SIGTERM) == 0
        sent = stopping.requests
        records = await stopping.records()
        assert unanswered(records) == set()
        known = await stopping.terminations()
        assert states(known) == {State.ACCEPTED, State.WAITING}
        accepted = [t for t in known.values() if t.state is State.ACCEPTED]
        assert len(accepted) == 10 * sent
        assert len(stopping.waiting) == 300 - len(accepted)
        stopping.provider.exchange.faults.clear()
        async with DispatchProcess(tmp_path / "again", kafka_servers, topic_prefix, url, RATE):
            await eventually(lambda: not stopping.waiting)
        verdict = stopping.provider.verdict()
        assert verdict.violations == {}
        assert verdict.terminate_requests == 30
