import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.service_process import ServiceProcess, configuration
from tests.kafka.helpers import Breakable
from tests.ports import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.end_to_end]


def settings_of(folder: Path, kafka: Breakable, prefix: str) -> dict[str, Any]:
    settings = configuration(folder / "data", port=free_port(), provider_url="http://127.0.0.1:9")
    settings["kafka"] = {
        "bootstrap_servers": kafka.servers,
        "topic_prefix": prefix,
        "replication_factor": 1,
        "partitions": {"call-events": 2, "scope-totals": 2, "terminations": 2, "rejected": 1},
    }
    return settings


async def test_a_service_whose_kafka_is_away_ends_in_order(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, breakable_kafka, topic_prefix)
    async with ServiceProcess(tmp_path, settings) as service, breakable_kafka.killed():

        async def in_trouble() -> bool:
            return not await service.ready()

        await service.until(in_trouble)
        assert await service.kill(signal.SIGTERM) == 0
        log = service.log.read_text()
        assert "ended in order" in log
        assert "Traceback" not in log


async def test_a_start_waits_for_kafka_if_it_is_told_to_and_can_be_ended_meanwhile(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, breakable_kafka, topic_prefix)
    settings["kafka"] |= {"wait_at_start": "10m"}
    async with ServiceProcess(tmp_path, settings) as service:

        async def waits() -> bool:
            return "It is tried again (kafka.wait_at_start)" in service.log.read_text()

        await service.kill(signal.SIGTERM)
        service.log.write_text("")
        async with breakable_kafka.killed():
            starting = asyncio.create_task(service.start())
            await service.until(waits)
            starting.cancel()
            assert await service.kill(signal.SIGTERM) == 0
            assert "Traceback" not in service.log.read_text()
            service.log.write_text("")
            starting = asyncio.create_task(service.start())
            await service.until(waits)
        await starting
        log = service.log.read_text()
    assert f"Kafka at {breakable_kafka.servers} does not answer" in log
    assert "Traceback" not in log
