"""kill -9 at any moment, then the same command: nothing accepted is lost, nothing is asked for without need."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consumer.simulate import HeaderSecret, SimulatedProvider, parse_scenario
from tests.end_to_end.service_process import (
    ACCOUNT,
    API_KEY,
    SECRET,
    ServiceProcess,
    alive,
    configuration,
    ringg_envelope,
)
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]
CALLS = 400


def may_be_asked_for_again(seen: dict[str, Any]) -> bool:
    """Whether an answer about a call was lost with the process, or another attempt was heard of before its end was."""
    terminations = seen.get("terminations", ())
    answers = {request["answer"] for one in terminations for request in one["requests"]}
    return len(terminations) > 1 or not answers.isdisjoint({None, "unknown"})


async def test_killed_five_times_the_counts_still_add_up(tmp_path: Path) -> None:
    port = free_port()
    scenario = parse_scenario(
        {
            "seed": 7,
            "speed": 20,
            "campaigns": [{"calls": CALLS, "register_per_second": 8, "repeated_people": 0.3}],
            "dial": {"per_second": 0.12},
            "webhooks": {"retry_seconds": [0.3, 0.5, 1, 1, 2, 2, 4, 4, *[8] * 80]},
            "rate_limit": {"requests_per_second": 20, "burst": 20},
        }
    )
    provider = SimulatedProvider(
        scenario,
        port=0,
        webhook_url=f"http://127.0.0.1:{port}/webhooks/{ACCOUNT}",
        webhook_auth=HeaderSecret(SECRET),
        api_key=API_KEY,
    )
    await provider.start()
    chance = random.Random(11)
    settings = configuration(tmp_path / "data", port=port, provider_url=provider.base_url, confirm_within="8s")
    try:
        async with ServiceProcess(tmp_path, settings) as service, aiohttp.ClientSession() as http:
            await http.post(f"{provider.control_url}/orders", json={"opt_outs": True})
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0.2, 1.5))  # the moment is the point; readiness is waited for
                await service.kill()
                await service.start()
            async with http.get(f"{provider.control_url}/campaigns") as answer:
                campaign = (await answer.json())["campaigns"][0]["campaign_id"]
            await http.post(f"{provider.control_url}/orders", json={"campaign_id": campaign})
            order = await service.stop_order({"campaign_id": campaign})
            await service.kill()
            await service.start()
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            await service.kill()
            await service.start()

            async def settled() -> bool:
                verdict = provider.verdict()
                to_come = sum(verdict.calls_by_status.get(status, 0) for status in ("registered", "retry", "ongoing"))
                return verdict.calls == CALLS and to_come == verdict.webhooks_waiting == 0

            await service.until(settled, 2 * PATIENCE_SECONDS)

            async def nothing_open() -> bool:
                _, shown = await service.get(f"/api/v1/stop-orders/{order}")
                counts = shown["counts"]
                over = ("confirmed", "missed", "not_found", "expired", "failed", "unconfirmed", "withdrawn")
                return bool(counts["matched"]) and sum(counts[name] for name in over) == counts["matched"]

            await service.until(nothing_open)
            verdict = provider.verdict()
            assert verdict.violations.keys() <= {"needless_ids"}
            assert verdict.webhooks_given_up == 0
            _, shown = await service.get(f"/api/v1/stop-orders/{order}")
            counts = shown["counts"]
            assert counts["unconfirmed"] == counts["failed"] == counts["not_found"] == 0, counts
            async with http.get(f"{provider.control_url}/calls", params={"limit": str(CALLS)}) as answer:
                played = (await answer.json())["calls"]
            assert len(played) == CALLS
            wrong, repeated = [], 0
            for call in played:
                status, seen = await service.get(f"/api/v1/calls/{ACCOUNT}/{call['call_id']}")
                if status != 200 or seen["status"] != call["status"]:
                    wrong.append((call, status, seen.get("status")))
                repeated += may_be_asked_for_again(seen)
            assert wrong == []
            assert verdict.needless_ids <= repeated
    finally:
        await provider.stop()


async def test_broker_killed_answers_503_and_work_goes_on_after(tmp_path: Path) -> None:
    settings = configuration(
        tmp_path / "data", port=free_port(), provider_url=f"http://127.0.0.1:{free_port()}/ca/api/v0"
    )
    async with ServiceProcess(tmp_path, settings) as service:
        assert (await service.webhook(ringg_envelope("call-0", "registered")))[0] == 200
        (broker,) = service.broker_pids()
        os.kill(broker, signal.SIGSTOP)  # silent first, then dead: a death alone is mended within two seconds
        status, headers = await service.webhook(ringg_envelope("call-1", "registered"))
        assert status == 503
        assert 1 <= int(headers["Retry-After"]) <= 5
        os.kill(broker, signal.SIGKILL)

        async def accepted() -> bool:
            return (await service.webhook(ringg_envelope("call-1", "registered")))[0] == 200

        await service.until(accepted)
        await service.until(service.ready)
        assert not alive(broker)
        for call_id in ("call-0", "call-1"):

            async def known(call_id: str = call_id) -> bool:
                return (await service.get(f"/api/v1/calls/{ACCOUNT}/{call_id}"))[0] == 200

            await service.until(known)


async def test_sigterm_ends_everything_it_started(tmp_path: Path) -> None:
    settings = configuration(
        tmp_path / "data", port=free_port(), provider_url=f"http://127.0.0.1:{free_port()}/ca/api/v0"
    )
    async with ServiceProcess(tmp_path, settings) as service:
        (broker,) = service.broker_pids()
        assert await service.kill(signal.SIGTERM) == 0
        assert not alive(broker)
