"""Starting ``ingest``: webhooks become call events, in this process and, with ``http.workers``, in others beside it."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from consumer.console.state import StillRejectedError
from consumer.ingest.intake import Intake
from consumer.ingest.server import WebhookServer
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.service.assembly import spool_of
from consumer.service.assembly_signals import intakes_of
from consumer.service.host import Host
from consumer.service.parts import Parts
from consumer.service.ruling import Ruling
from consumer.settings import Settings
from consumer.workers.assignment import Assignment
from consumer.workers.crew import Crew
from handlers.providers.table import PROVIDERS

WORKER_SILENT = "a worker does not answer, or cannot write to Kafka"


def start_ingest(host: Host, parts: Parts, settings: Settings, crew: Crew) -> WebhookServer:
    """Serve the routes of webhooks; the workers of ``crew`` are started when the port is known."""
    spool = host.stack.enter_context(spool_of(settings, parts.topics))
    if spool:
        host.add_task("spool", lambda: spool.run(parts.producer))
    webhooks = WebhookServer(
        settings.accounts.values(),
        PROVIDERS,
        producer=parts.producer,
        topics=parts.topics,
        max_body_bytes=settings.http.max_body,
        spool=spool,
    )

    def take_signals(ruling: Ruling) -> None:
        webhooks.take_signals(intakes_of(ruling.signalled, settings.accounts, parts.topics))

    take_signals(parts.in_force.now)
    parts.in_force.on_taken(take_signals)
    host.routes += [*webhooks.routes(), *webhooks.signal_routes()]
    if settings.http.workers > 1:
        host.add_check("workers", lambda: crew.ready, WORKER_SILENT)
    return webhooks


async def start_workers(
    host: Host, parts: Parts, settings: Settings, crew: Crew, *, count: int, runner: web.AppRunner, port: int
) -> None:
    """Start the processes that take webhooks beside this one; they ask it, by a Unix socket, for everything else."""
    folder = host.stack.enter_context(TemporaryDirectory(prefix="callbreaker-"))
    main_socket = str(Path(folder) / "main")
    await web.UnixSite(runner, main_socket).start()
    host.stack.push_async_callback(crew.stop)
    await crew.start(count, Assignment(settings, parts.connection, parts.topics, port, main_socket))
    host.add_task("workers", crew.run)


def read_again(settings: Settings, topics: Topics, account: str, event_id: str, raw: bytes) -> Sequence[OutRecord]:
    """Read a kept body again with what its account and the providers are now; raises ``StillRejectedError``."""
    configured = settings.accounts.get(account)
    if configured is None:
        raise StillRejectedError(f"there is no account {account} any more; add it to the configuration")
    taken = Intake(configured, PROVIDERS[configured.provider], topics).read(raw, event_id)
    if taken.reason is not None:
        raise StillRejectedError(taken.reason)
    return taken.records
