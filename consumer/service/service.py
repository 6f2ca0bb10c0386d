"""The composition root: the only place that knows every part.

``Service`` starts what the asked-for roles need, in order, and ends it in the opposite order. A task that dies takes the
service down loudly; what it had not finished is in the log and goes on with the next start.
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from sqlite3 import DatabaseError
from typing import Any, Self

from aiohttp import web

from consumer.console.ledger_view import LedgerView
from consumer.ingest.metrics import webhooks_taken
from consumer.kafka.checkpoints import checkpoint_views
from consumer.kafka.connection import Connection
from consumer.kafka.embedded import EmbeddedKafka, OnProgress
from consumer.kafka.metrics import show_bytes
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.order_file import own_file
from consumer.kafka.probe import KafkaProbe
from consumer.kafka.producer import Producer
from consumer.kafka.topics import Cluster, Topics, ensure_topics_patiently
from consumer.kafka.view import discard_damaged
from consumer.kafka.watch import OwnReading
from consumer.service.address import advertised_url, shown_url
from consumer.service.assembly import connection_of, topics_of
from consumer.service.control_metrics import show_controls
from consumer.service.health import health_routes
from consumer.service.held_here import HeldHere
from consumer.service.host import Host
from consumer.service.internal_routes import internal_routes
from consumer.service.listening import DRAIN_SECONDS, listen, runner_of
from consumer.service.local_token import forget_token, keep_token
from consumer.service.memory import keep_freed_memory, quieten_gc
from consumer.service.open_files import allow_open_files
from consumer.service.overview import Overview
from consumer.service.parts import Parts, node_name
from consumer.service.peer_proof import PeerProof
from consumer.service.rules_file import ConfigurationFile, RulesFile
from consumer.service.ruling import InForce
from consumer.service.start_console import start_console
from consumer.service.start_correlate import start_correlate
from consumer.service.start_guard import start_guard
from consumer.service.start_ingest import start_ingest, start_workers
from consumer.service.start_terminate import start_terminate
from consumer.settings import Settings
from consumer.workers.crew import Crew

PORTS_TO_TRY = 50
STOP_ORDERS_UNREAD = "the stop orders are still being read"


class Role(StrEnum):
    """What a process does; ``callbreaker run`` does all of it."""

    INGEST = "ingest"
    CORRELATE = "correlate"
    GUARD = "guard"
    TERMINATE = "terminate"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Started:
    """What is known once a service is up. ``token`` is set when it was made at the start because none is configured."""

    url: str
    kafka_servers: str
    token: str | None


class Service:
    """The roles of one process. Use as an async context manager, then await ``run``."""

    feed: OrderFeed
    in_force: InForce
    started: Started
    _overview: Overview

    def __init__(
        self,
        settings: Settings,
        roles: frozenset[Role],
        *,
        configuration: ConfigurationFile | None = None,
        on_progress: OnProgress | None = None,
        next_free_port: bool = False,
    ) -> None:
        """Prepare the roles; ``configuration`` is the file that the settings are of, watched for other rules."""
        self.settings = settings
        self.roles = roles
        self.host = Host()
        self._configuration = configuration
        self._on_progress = on_progress
        self._next_free_port = next_free_port
        self._kafka: EmbeddedKafka | None = None
        self._here = HeldHere()
        self._here.reading_back = self.host.reading_back
        self._crew = Crew()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.host.stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.host.stack.aclose()

    async def run(self) -> None:
        """Work until ``end`` or cancelled; the first task that fails ends all of them and is raised."""
        try:
            await self.host.run()
        except* DatabaseError as errors:  # every role asks the book, and any of them may find its file damaged
            discard_damaged([self.feed.book.view], errors)
            raise

    def end(self) -> None:
        """Let ``run`` take no further webhook, begin no further request, finish what is on its way, and return."""
        self.host.end()

    def kill(self) -> None:
        """End at once what would outlive this process; for one that is about to leave without further ado."""
        for pid in (*self._crew.pids, *(self._kafka.pids if self._kafka else ())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def ready(self) -> None:
        """Wait until every check of ``/readyz`` is passed; ``run`` must be under way."""
        await self.host.ready()

    def overview(self) -> dict[str, Any]:
        """The figures that the page and the terminal show; null is what only other processes know."""
        return self._overview.now()

    @property
    def ledger(self) -> LedgerView | None:
        """What became of terminations; None where this process has no console."""
        return self._overview.ledger

    async def _start(self) -> None:
        quieten_gc()
        keep_freed_memory()
        allow_open_files()
        host, settings = self.host, self.settings
        connection = await self._connection()
        topics = topics_of(settings)
        cluster = await ensure_topics_patiently(connection, topics, settings.kafka.wait_at_start)
        producer = Producer(connection)
        await producer.start()
        host.stack.push_async_callback(producer.stop)
        host.add_task("producer", producer.watch)
        self.feed = await self._follow_orders(connection, topics, cluster, producer)
        self.in_force = InForce(settings, self.feed, self._configuration.hash if self._configuration else "")
        node, views = node_name(settings.data_dir), settings.data_dir / "views"
        parts = Parts(connection, topics, cluster, producer, self.feed, self.in_force, node, views)
        file = RulesFile(
            self._configuration, settings=settings, in_force=self.in_force, feed=self.feed, producer=producer
        )
        host.add_task("rules", file.run)
        host.add_task("checkpoints", lambda: checkpoint_views(views))
        kafka = {"servers": connection.bootstrap_servers, "embedded": self._kafka is not None}
        self._overview = Overview(host, kafka=kafka, views=views, webhooks=self._webhooks_taken)
        token = await self._start_roles(parts)
        url = await self._serve_http(parts)
        if token:
            keep_token(settings.data_dir, token)
            host.stack.callback(forget_token, settings.data_dir)
        self.started = Started(url, connection.bootstrap_servers, token)

    async def _connection(self) -> Connection:
        if self.settings.kafka.bootstrap_servers is not None:
            return connection_of(self.settings, self.settings.kafka.bootstrap_servers)
        self._kafka = kafka = EmbeddedKafka(self.settings.data_dir, on_progress=self._on_progress)
        await self.host.stack.enter_async_context(kafka)
        self.host.add_task("embedded kafka", kafka.supervise)
        return connection_of(self.settings, kafka.bootstrap_servers)

    async def _follow_orders(
        self, connection: Connection, topics: Topics, cluster: Cluster, producer: Producer
    ) -> OrderFeed:
        """Follow the stop orders, which every role needs; that Kafka answers shows there first."""
        host = self.host
        ttl = {account.name: account.decision_ttl for account in self.settings.accounts.values()}
        path = host.stack.enter_context(own_file(self.settings.data_dir / "views" / "orders"))
        show_bytes("orders", path.parent, f"{path.name}*")
        book = StoredOrderBook(path, cluster_id=cluster.cluster_id, decision_ttl=ttl)
        feed = OrderFeed(connection, topics.stop_orders, book=book)
        await feed.start()
        host.stack.push_async_callback(feed.stop)
        host.add_task("orders", feed.run)
        feed.on_change(lambda: show_controls(feed))
        probe = KafkaProbe(feed)
        host.add_task("kafka probe", probe.run)
        self._watch_kafka(probe, producer)
        host.watch("orders", OwnReading(feed.readings, feed.bounds), lambda: feed.ready, STOP_ORDERS_UNREAD)
        return feed

    def _watch_kafka(self, probe: KafkaProbe, producer: Producer) -> None:
        """Be ready while Kafka answers, and as soon as it does no longer, if webhooks are kept until it does."""
        self.host.add_check("kafka", lambda: probe.reachable and not producer.failing, self._kafka_is_away)
        self.host.ready_regardless = lambda: self._keeps_webhooks and (probe.missed or producer.failing)

    @property
    def _keeps_webhooks(self) -> bool:
        return self._here.webhooks is not None and self._here.webhooks.keeps

    def _kafka_is_away(self) -> str:
        kept = "; webhooks are kept on the disk until it does (http.spool)" if self._keeps_webhooks else ""
        return f"Kafka does not answer{kept}"

    async def _start_roles(self, parts: Parts) -> str | None:
        """Start the roles asked for; gives the operator's token if the console had to make one."""
        host, settings, here, token = self.host, self.settings, self._here, None
        if Role.CORRELATE in self.roles:
            here.calls = await start_correlate(host, parts, settings)
        if Role.GUARD in self.roles:
            await start_guard(host, parts, settings)
        if Role.TERMINATE in self.roles:
            here.terminate = await start_terminate(host, parts, settings)
        if Role.CONSOLE in self.roles:
            token = await start_console(host, parts, settings, here, self._overview)
        if Role.INGEST in self.roles:
            here.webhooks = start_ingest(host, parts, settings, self._crew)
        if self.roles & {Role.CORRELATE, Role.TERMINATE}:
            host.routes += internal_routes(here, node=parts.node, proof=PeerProof(settings.accounts.values()))
        return token

    async def _serve_http(self, parts: Parts) -> str:
        host, settings = self.host, self.settings.http
        workers = settings.workers - 1 if self._here.webhooks else 0
        application = web.Application(client_max_size=settings.max_body)
        application.add_routes([*host.routes, *health_routes(host.readiness, self._crew)])
        runner = runner_of(application)
        await runner.setup()
        host.stack.push_async_callback(runner.cleanup)
        tries = PORTS_TO_TRY if self._next_free_port else 1
        port = await listen(runner, settings.host, settings.port, tries=tries, shared=workers > 0)
        host.stack.push_async_callback(self._take_no_more)
        host.when_leaving(self._take_no_more)
        if workers:
            await start_workers(host, parts, self.settings, self._crew, count=workers, runner=runner, port=port)
        host.reachable(advertised_url(settings.host, port, settings.advertise))
        return shown_url(settings.host, port)

    async def _take_no_more(self) -> None:
        """Take no further webhook, and finish those that are on their way."""
        self._crew.end()
        if self._here.webhooks:
            await self._here.webhooks.drain(DRAIN_SECONDS)

    def _webhooks_taken(self) -> int | None:
        return webhooks_taken() + self._crew.webhooks_taken if self._here.webhooks else None
