"""One server process for the ingest benchmark: ``bare`` only reads the body, ``durable`` is the real webhook endpoint."""

import asyncio
import sys

import uvloop
from aiohttp import web
from pydantic import SecretStr

from consumer.ingest.server import WebhookServer
from consumer.kafka.connection import Connection
from consumer.kafka.producer import Producer
from consumer.kafka.topics import Topics, ensure_topics
from consumer.model.accounts import Account, HeaderAuth, WebhookSettings
from consumer.service.memory import quieten_gc
from handlers.providers.table import PROVIDERS

SECRET = "benchmark-secret-1234567890"  # noqa: S105 -- of this benchmark only
ACCOUNT = "bench"


async def serve(kind: str, port: int, bootstrap_servers: str) -> None:
    """Serve until killed."""
    application = web.Application(client_max_size=256 * 1024)
    if kind == "bare":

        async def bare(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(body=b'{"event_id":"bare"}', content_type="application/json")

        application.router.add_post("/webhooks/{account}", bare)
    else:
        connection = Connection(bootstrap_servers, topic_prefix="bench.")
        topics = Topics.embedded("bench.")
        await ensure_topics(connection, topics)
        producer = Producer(connection)
        await producer.start()
        account = Account(
            name=ACCOUNT,
            provider="ringg",
            api_key=SecretStr("unused-api-key"),
            webhook=WebhookSettings(
                auth=HeaderAuth(name="X-Webhook-Secret", secrets=(SecretStr(SECRET),)),
            ),
        )
        server = WebhookServer([account], PROVIDERS, producer=producer, topics=topics, max_body_bytes=256 * 1024)
        application.add_routes(server.routes())
    runner = web.AppRunner(application, access_log=None, auto_decompress=False, keepalive_timeout=15)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    quieten_gc()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
