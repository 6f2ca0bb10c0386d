"""aiokafka's producer as we use it: idempotent, and closed within a bound whatever the brokers do."""

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumer.kafka.connection import Connection
from consumer.kafka.lanes import MAX_BATCH_BYTES

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0


async def connect(connection: Connection, client_id: str) -> AIOKafkaProducer:
    """Start a client; raises ``KafkaError`` or ``OSError`` where no broker lets it in."""
    client = AIOKafkaProducer(
        **connection.client_options(client_id),
        enable_idempotence=True,
        compression_type=None if connection.compression == "none" else connection.compression,
        max_batch_size=MAX_BATCH_BYTES,
        request_timeout_ms=10_000,
        retry_backoff_ms=50,
        metadata_max_age_ms=30_000,
    )
    try:
        await client.start()
    except BaseException:
        await close(client)
        raise
    return client


async def close(client: AIOKafkaProducer) -> None:
    """Close a client at once: its own ``stop`` waits, without a bound, for brokers to take what we still hold ourselves.

    Connections go first, so that requests under way fail instead of running into their time-outs, and once more at the
    end, for those that the sender had opened meanwhile.
    """
    client._closed = True  # noqa: SLF001 -- else its finaliser warns
    for step in (client.client.close, client._sender.close, client.client.close):  # noqa: SLF001 -- as above
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await step()
        except (TimeoutError, KafkaError, OSError) as error:
            logger.warning("a Kafka client did not close in time: %r", error)
