import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from consumer.service.listening import ListenError, join, listen, runner_of

HERE = "127.0.0.1"


@pytest_asyncio.fixture
async def runners() -> AsyncIterator[list[web.AppRunner]]:
    made = [runner_of(web.Application()) for _ in range(3)]
    for runner in made:
        await runner.setup()
    yield made
    for runner in made:
        await runner.cleanup()


async def test_a_shared_port_can_be_joined_and_one_that_is_not_shared_cannot(runners: list[web.AppRunner]) -> None:
    first, second, third = runners
    await join(second, HERE, await listen(first, HERE, 0, shared=True))
    alone = await listen(third, HERE, 0)
    with pytest.raises(OSError, match="in use"):
        await join(second, HERE, alone)


async def test_a_port_that_somebody_else_shares_is_not_taken(runners: list[web.AppRunner]) -> None:
    with socket.create_server((HERE, 0), reuse_port=True) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port} on {HERE} cannot be listened on: Address already in use"):
            await listen(runners[0], HERE, port, shared=True)
        assert await listen(runners[0], HERE, port, tries=5, shared=True) > port
