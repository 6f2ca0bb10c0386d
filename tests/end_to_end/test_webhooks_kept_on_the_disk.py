"""``http.spool``: Kafka is away, webhooks are taken all the same, the service is killed, and nothing is lost."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.service_process import ACCOUNT, ServiceProcess, alive, configuration, ringg_envelope
from tests.kafka.helpers import Breakable, until
from tests.ports import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.end_to_end, pytest.mark.timeout(400)]

CALLS = 40
TOLD = "Kafka does not answer; webhooks are kept on the disk until it does (http.spool)"


async def send(service: ServiceProcess, name: str) -> set[int]:
    sent = [service.webhook(ringg_envelope(f"{name}-{n}", "registered")) for n in range(CALLS)]
    return {status for status, _ in await asyncio.gather(*sent)}


async def known(service: ServiceProcess, name: str) -> set[int]:
    asked = [service.get(f"/api/v1/calls/{ACCOUNT}/{name}-{n}") for n in range(CALLS)]
    return {status for status, _ in await asyncio.gather(*asked)}


def children(service: ServiceProcess) -> list[int]:
    assert service.process is not None
    return [child.pid for child in psutil.Process(service.process.pid).children()]


@pytest.mark.parametrize("workers", [1, 2])
async def test_webhooks_are_taken_while_kafka_is_away_and_reach_it_though_the_service_is_killed(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, workers: int
) -> None:
    settings = configuration(tmp_path / "data", port=free_port(), provider_url="http://127.0.0.1:9")
    settings["http"] |= {"workers": workers, "spool": "8MiB"}
    settings["kafka"] = {
        "bootstrap_servers": breakable_kafka.servers,
        "topic_prefix": topic_prefix,
        "replication_factor": 1,
        "partitions": {"call-events": 2, "scope-totals": 2, "terminations": 2, "rejected": 1},
    }
    async with ServiceProcess(tmp_path, settings) as service:

        async def checks() -> dict[str, Any]:
            status, body = await service.get("/readyz")
            assert (status, body["ready"]) == (200, True), body
            return dict(body["checks"])

        async def kafka_is_missed() -> bool:
            return bool((await checks())["kafka"] == TOLD)

        async def all_known() -> bool:
            return {
                *await known(service, "before"),
                *await known(service, "killed"),
                *await known(service, "ended"),
            } == {200}

        assert await send(service, "before") == {200}
        async with breakable_kafka.killed():
            assert await send(service, "killed") == {200}
            await service.until(kafka_is_missed)
            workers_alive = children(service)
            assert len(workers_alive) == workers - 1
            assert await service.kill(signal.SIGKILL) == -signal.SIGKILL
            await until(lambda: not any(map(alive, workers_alive)))  # they end in order when the main process is gone
        await service.start()
        async with breakable_kafka.killed():
            assert await send(service, "ended") == {200}
            assert await service.kill(signal.SIGTERM) == 0
        settings["http"] |= {"workers": 1, "spool": None}
        service.configure(settings)
        await service.start()
        await service.until(all_known)
        log = service.log.read_text()
    assert "Traceback" not in log
