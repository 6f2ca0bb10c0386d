"""The webhook endpoint of one account on loopback, and the webhooks sent to it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiokafka import ConsumerRecord

from consumer.ingest.server import WebhookServer
from consumer.ingest.spool import Spool
from consumer.kafka.topics import Topic
from consumer.model.codec import decode_event
from consumer.model.events import CallEvent, Position
from consumer.model.identity import call_key
from handlers.providers.table import PROVIDERS
from tests.kafka.helpers import SECRET, Installation, an_account
from tests.patience import PATIENCE_SECONDS

MAX_BODY = 65_536
NUMBER = "+918882876897"


@dataclass
class Ingest:
    """The webhook endpoint of one account, ``acme``, on loopback."""

    log: Installation
    http: aiohttp.ClientSession
    port: int
    webhooks: WebhookServer

    async def send(self, body: object, *, account: str = "acme", method: str = "POST", **headers: str) -> "Answer":
        """Send a webhook with the right secret unless ``headers`` say otherwise."""
        url = f"http://127.0.0.1:{self.port}/webhooks/{account}"
        given = {"X-Webhook-Secret": SECRET, "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.http.request(method, url, data=data, headers=given) as response:
            return Answer(response.status, await response.json(content_type=None), dict(response.headers))

    async def raw(self, *parts: bytes) -> bytes:
        """Write bytes to the port and read the head of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(parts))
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return answer

    async def kept(self, topic: Topic, needle: bytes) -> list[ConsumerRecord]:
        return [record for record in await self.log.read(topic) if needle in record.value]

    async def event(self, call_id: str) -> tuple[ConsumerRecord, CallEvent]:
        """The only event of a call, as it stands in Kafka."""
        topic = self.log.topics.call_events
        (record,) = [r for r in await self.log.read(topic) if r.key == call_key("acme", call_id)]
        return record, decode_event(record.value, Position(record.topic, record.partition, record.offset), 0.0)


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


@asynccontextmanager
async def serving(log: Installation, spool: Spool | None = None) -> AsyncIterator[Ingest]:
    webhooks = WebhookServer(
        [an_account()], PROVIDERS, producer=log.producer, topics=log.topics, max_body_bytes=MAX_BODY, spool=spool
    )
    async with listening(webhooks.routes()) as (http, port):
        yield Ingest(log, http, port, webhooks)


@asynccontextmanager
async def listening(
    routes: Iterable[web.RouteDef], max_body_bytes: int = MAX_BODY
) -> AsyncIterator[tuple[aiohttp.ClientSession, int]]:
    """Serve routes on loopback; gives who may ask there, and the port."""
    application = web.Application(client_max_size=max_body_bytes)
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, auto_decompress=False, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as http:
            yield http, runner.addresses[0][1]
    finally:
        await runner.cleanup()


def completed(call_id: str, **fields: Any) -> dict[str, Any]:
    """Give the event that ends an attempt, as docs.ringg.ai has it."""
    return {
        "event_type": "call_completed",
        "call_id": call_id,
        "status": "retry",
        "retry_count": 0,
        "to_number": NUMBER,
        "bulk_list_id": "campaign-1",
        "agent_id": "agent-1",
        **fields,
    }
