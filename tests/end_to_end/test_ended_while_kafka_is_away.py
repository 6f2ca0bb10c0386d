import signal
from pathlib import Path

import pytest

from tests.end_to_end.service_process import ServiceProcess, configuration
from tests.kafka.helpers import Breakable
from tests.ports import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.end_to_end]


async def test_a_service_whose_kafka_is_away_ends_in_order(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    settings = configuration(tmp_path / "data", port=free_port(), provider_url="http://127.0.0.1:9")
    settings["kafka"] = {
        "bootstrap_servers": breakable_kafka.servers,
        "topic_prefix": topic_prefix,
        "replication_factor": 1,
        "partitions": {"call-events": 2, "scope-totals": 2, "terminations": 2, "rejected": 1},
    }
    async with ServiceProcess(tmp_path, settings) as service, breakable_kafka.killed():

        async def in_trouble() -> bool:
            return not await service.ready()

        await service.until(in_trouble)
        assert await service.kill(signal.SIGTERM) == 0
        log = service.log.read_text()
        assert "ended in order" in log
        assert "Traceback" not in log
