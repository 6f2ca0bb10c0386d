"""uvloop and aiokafka on a connection that is lost in the moment of writing."""

import asyncio
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from consumer.kafka.closed_transport import take_closed_for_lost


async def lost_while_writing() -> bool:
    """Send on a connection whose transport has been closed under it; says whether it counts as connected then."""
    gone = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection: Any = AIOKafkaConnection("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection._reader, connection._writer, connection._versions = reader, writer, {3: (0, 5)}
    connection._read_task = connection._create_reader_task()
    writer.transport.abort()
    await gone.wait()
    try:
        with pytest.raises(KafkaConnectionError, match="lost"):
            await connection.send(MetadataRequest([]))
        return bool(connection.connected())
    finally:
        server.close()
        await server.wait_closed()


def test_a_connection_that_is_lost_while_writing_is_a_lost_connection() -> None:
    take_closed_for_lost()
    assert not uvloop.run(lost_while_writing())
