import asyncio
import gc
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumer.kafka.embedded import EmbeddedKafka
from tests.kafka.helpers import Breakable

LONGEST_FIRST = ("simulation", "end_to_end", "browser", "kafka", "property", "unit")


# A broker that a test kills makes the client say so hundreds of times, and what failed is not found among it.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that several processes come to the end together."""
    place = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.parent.name, 0))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Bootstrap servers of the real broker that all tests of the session share; started when first asked for."""
    data_dir: Path = tmp_path_factory.mktemp("shared-kafka")
    async with EmbeddedKafka(data_dir) as kafka:
        yield kafka.bootstrap_servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def breakable_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Breakable]:
    """A second broker, for tests that kill or stop it."""
    async with Breakable(tmp_path_factory.mktemp("breakable-kafka")) as kafka:
        yield kafka


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topic and group names that no other test has."""
    return f"t{secrets.token_hex(4)}."


@pytest_asyncio.fixture(loop_scope="session")
async def nothing_forgotten() -> AsyncIterator[None]:
    """Fail a test that leaves behind an error nobody looked at, or a task nobody waited for."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert not complaints
