import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from consumer.kafka.embedded import EmbeddedKafka


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Bootstrap servers of the real broker that all tests of the session share; started when first asked for."""
    data_dir: Path = tmp_path_factory.mktemp("shared-kafka")
    async with EmbeddedKafka(data_dir) as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topic and group names that no other test has."""
    return f"t{secrets.token_hex(4)}."
