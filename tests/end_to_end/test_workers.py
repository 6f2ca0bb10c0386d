"""``http.workers``: several processes take webhooks on one port, and from outside they are one service."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.end_to_end.service_process import (
    ACCOUNT,
    SECRET,
    TOKEN,
    ServiceProcess,
    alive,
    configuration,
    ringg_envelope,
)
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]
WORKERS = 3
CONNECTIONS = 60
QA_SECRET = "a-secret-of-the-qa-tool"


class Service(ServiceProcess):
    """The service, and connections of one request each, so that every process gets some."""

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in children if "consumer.workers.process" in child.cmdline()]

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {TOKEN}"} | more.pop("headers", {})
        async with (
            aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as http,
            http.request(method, self.url + path, **more) as answer,
        ):
            return answer.status, await answer.text()

    async def ask_often(self, method: str, path: str, times: int = 20, **more: Any) -> set[tuple[int, str]]:
        return set(await asyncio.gather(*[self.ask(method, path, **more) for _ in range(times)]))

    async def figure(self, name: str) -> float:
        _, text = await self.ask("GET", "/metrics")
        return sum(float(value) for value in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Service]:
    settings = configuration(
        folder / "data", port=free_port(), provider_url=f"http://127.0.0.1:{free_port()}/ca/api/v0"
    )
    settings["http"] |= {"workers": WORKERS}
    settings["rules"] = [
        {"name": "qa", "handler": "manual", "signal": {"auth": {"type": "bearer", "secret": QA_SECRET}}}
    ]
    async with Service(folder, settings) as service:
        assert len(service.worker_pids()) == WORKERS - 1
        yield service


async def gone(service: Service, *pids: int) -> None:
    async def check() -> bool:
        return not any(map(alive, pids))

    await service.until(check)


async def test_every_process_takes_webhooks_and_whoever_accepts_a_connection_answers_everything_alike(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as service:
        assert service.process is not None
        pids = [service.process.pid, *service.worker_pids()]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

            async def send(n: int) -> int:
                async with http.post(
                    f"{service.url}/webhooks/{ACCOUNT}",
                    json=ringg_envelope(f"call-{n}", "registered"),
                    headers={"X-Webhook-Secret": SECRET},
                ) as answer:
                    return answer.status

            assert set(await asyncio.gather(*map(send, range(CONNECTIONS)))) == {200}
            port = int(service.url.rpartition(":")[2])
            for pid in pids:
                open_here = [c for c in psutil.Process(pid).net_connections("tcp") if c.laddr.port == port]
                assert len(open_here) > 1  # the first is the one that listens

        async def counted() -> bool:
            webhooks = await service.figure(rf'callbreaker_webhooks_total{{account="{ACCOUNT}",status="200"}}')
            return webhooks == await service.figure("callbreaker_webhook_seconds_count") == CONNECTIONS

        await service.until(counted)

        async def folded() -> bool:
            asked = [service.ask("GET", f"/api/v1/calls/{ACCOUNT}/call-{n}") for n in range(CONNECTIONS)]
            return {status for status, _ in await asyncio.gather(*asked)} == {200}

        await service.until(folded)
        assert {status for status, _ in await service.ask_often("GET", "/readyz")} == {200}
        assert len(await service.ask_often("GET", "/api/v1/openapi.json")) == 1
        assert {status for status, _ in await service.ask_often("GET", "/nowhere?at=all")} == {404}
        assert {status for status, _ in await service.ask_often("GET", f"/webhooks/{ACCOUNT}")} == {405}
        told = {"account": ACCOUNT, "scope": {"agent_id": "agent-7"}, "reason": "it is rude"}
        for secret, answer in ((QA_SECRET, 200), ("of-somebody-else", 401)):
            proof = {"Authorization": f"Bearer {secret}"}
            answers = await service.ask_often("POST", "/signals/qa", json=told, headers=proof)
            assert {status for status, _ in answers} == {answer}
        order = {"account": ACCOUNT, "scope": {"call_ids": ["call-x"]}, "reason": "the test says so"}
        orders = await service.ask_often("POST", "/api/v1/stop-orders", json=order)
        assert {status for status, _ in orders} == {202}
        unknown = await service.ask_often("GET", "/api/v1/accounts", headers={"Authorization": "Bearer wrong"})
        assert {status for status, _ in unknown} == {401}


async def test_streams_go_through_every_process_and_end_with_the_service(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as service,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
    ):
        streams = await asyncio.gather(*[http.get(f"{service.url}/api/v1/stream") for _ in range(12)])
        for stream in streams:
            assert stream.content_type == "text/event-stream"
            assert await asyncio.wait_for(stream.content.readline(), PATIENCE_SECONDS)
        pids = service.worker_pids()
        assert await service.kill(signal.SIGTERM) == 0
        await gone(service, *pids)


async def test_workers_end_with_a_main_process_that_is_killed_and_it_can_be_started_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert (await service.webhook(ringg_envelope("before", "registered")))[0] == 200
        pids = [*service.worker_pids(), *service.broker_pids()]
        await service.kill(signal.SIGKILL)
        await gone(service, *pids)
        await service.start()
        assert len(service.worker_pids()) == WORKERS - 1
        statuses = [(await service.webhook(ringg_envelope(f"after-{n}", "registered")))[0] for n in range(10)]
        assert set(statuses) == {200}


async def test_a_worker_that_dies_takes_the_service_down_loudly(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert service.process is not None
        first, *others = service.worker_pids()
        psutil.Process(first).kill()
        assert await asyncio.wait_for(service.process.wait(), PATIENCE_SECONDS) == 1
        assert f"the worker with pid {first} ended with exit code -9" in service.log.read_text()
        await gone(service, *others)
