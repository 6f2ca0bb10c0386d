"""Whether a broker answers: a metadata request, never a guess from its log or a wait of fixed length."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumer.kafka.embedded_broker import Broker
from consumer.kafka.embedded_config import HOST, Node

READY_SECONDS = 30.0
POLL_SECONDS = 0.02
REQUEST_MILLISECONDS = 2000


async def until_answers(broker: Broker, node: Node, brokers: int = 1) -> None:
    """Return when the node takes connections and names at least `brokers` live brokers.

    Raises StartError when it ends first, or after READY_SECONDS.
    """
    ended = asyncio.ensure_future(broker.wait())
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not ended.done():
                if await _takes_connections(node) and await _live_brokers(node) >= brokers:
                    return
                await asyncio.wait((ended,), timeout=POLL_SECONDS)
    except TimeoutError:
        raise broker.failure(f"the broker did not answer within {READY_SECONDS:g} s") from None
    finally:
        ended.cancel()
    raise broker.failure(f"the broker ended with exit code {ended.result()} before it answered")


async def _takes_connections(node: Node) -> bool:
    """Ask the kernel first: aiokafka logs an error for every refused connection."""
    try:
        _, writer = await asyncio.open_connection(HOST, node.client_port)
    except OSError:
        return False
    writer.close()
    return True


async def _live_brokers(node: Node) -> int:
    client = AIOKafkaAdminClient(
        bootstrap_servers=f"{HOST}:{node.client_port}", request_timeout_ms=REQUEST_MILLISECONDS
    )
    try:
        await client.start()
        return len((await client.describe_cluster())["brokers"])
    except KafkaError:
        return 0
    finally:
        await client.close()
