"""A worker that is told to leave while its provider says nothing."""

import signal
from pathlib import Path

import pytest

from consumer.model.terminations import AnswerClass, Result, State
from consumer.simulate import FaultKind
from tests.end_to_end.dispatch_process import DispatchProcess, a_campaign, eventually, states, unanswered
from tests.end_to_end.service_process import ACCOUNT, SECRET, TOKEN
from tests.kafka.helpers import installed

RATE = 4
LONGER_THAN_ANY_GRACE_SECONDS = 120.0

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]


async def test_sigterm_lets_a_slow_body_and_a_silent_provider_wait_side_by_side_and_loses_no_outcome(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, a_campaign(log, 60, RATE) as stopping:
        stopping.fault(FaultKind.SLOW, delay_seconds=LONGER_THAN_ANY_GRACE_SECONDS, applied=True)
        async with DispatchProcess(
            tmp_path / "all", kafka_servers, topic_prefix, stopping.provider.base_url, RATE, command="run"
        ) as service:
            await stopping.begin()
            await eventually(lambda: stopping.requests >= 1)
            bodies = [
                await service.begin_to_post(f"/webhooks/{ACCOUNT}", **{"X-Webhook-Secret": SECRET}),
                await service.begin_to_post("/api/v1/stop-orders", Authorization=f"Bearer {TOKEN}"),
            ]
            await eventually(service.takes_a_webhook)
            sent = stopping.requests
            assert await service.end(signal.SIGTERM) == 0
            for body in bodies:
                body.close()
        records = await stopping.records()
        assert unanswered(records) == set()
        assert stopping.requests <= sent + 1, "nothing new leaves"
        assert len({r.request_id for r in records if isinstance(r, Result) and r.answer is AnswerClass.UNKNOWN}) >= sent


async def test_sigterm_waits_no_longer_than_a_request_may_take_and_writes_down_that_nothing_was_answered(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, a_campaign(log, 60, RATE) as stopping:
        stopping.fault(FaultKind.SLOW, delay_seconds=LONGER_THAN_ANY_GRACE_SECONDS, applied=True)
        await stopping.begin()
        async with DispatchProcess(
            tmp_path / "one", kafka_servers, topic_prefix, stopping.provider.base_url, RATE
        ) as worker:
            await eventually(lambda: stopping.requests >= 1)
            assert await worker.end(signal.SIGTERM) == 0
        records = await stopping.records()
        assert unanswered(records) == set()
        assert {(r.answer, r.http_status) for r in records if isinstance(r, Result) and r.request_id} == {
            (AnswerClass.UNKNOWN, None)
        }
        assert states(await stopping.terminations()) <= {State.UNKNOWN, State.WAITING}
