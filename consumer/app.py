"""The composition root: the only place that knows every part.

``Service`` starts what the asked-for roles need, in order, and ends it in the opposite order. A task that dies takes the
service down loudly; what it had not finished is in the log and goes on with the next start.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from sqlite3 import DatabaseError
from tempfile import TemporaryDirectory
from typing import Any, Self

from aiohttp import web

from consumer.address import advertised_url, shown_url
from consumer.assembly import connection_of, keeping_of, receiver_of, signals_of, topics_of
from consumer.console.figures import Figures
from consumer.console.ledger_view import LedgerView
from consumer.console.operators import Operators, OperatorToken, generated_token
from consumer.console.page import page_routes
from consumer.console.routes import console_routes
from consumer.console.state import ConsoleState, StillRejectedError
from consumer.console.stream import Live
from consumer.control_metrics import show_controls
from consumer.correlate.calls import unsaved_events
from consumer.correlate.lag import LagWatch
from consumer.correlate.queries import CallQueries
from consumer.elsewhere import Elsewhere
from consumer.garbage import quieten_gc
from consumer.guard.notify import Notifier
from consumer.health import Check, Readiness, health_routes
from consumer.held_here import HeldHere
from consumer.ingest.intake import Intake
from consumer.ingest.metrics import webhooks_taken
from consumer.ingest.server import WebhookServer
from consumer.internal_routes import internal_routes
from consumer.kafka.checkpoints import checkpoint_views
from consumer.kafka.connection import Connection
from consumer.kafka.embedded import EmbeddedKafka, OnProgress
from consumer.kafka.metrics import show_bytes
from consumer.kafka.only_here import only_here
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.order_file import own_file
from consumer.kafka.probe import KafkaProbe
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.reader import GroupReader
from consumer.kafka.rejected import RejectedLog
from consumer.kafka.topics import Topics, ensure_topics
from consumer.kafka.view import discard_damaged
from consumer.kafka.watch import OwnReading, Watch, Watched
from consumer.kafka.worker import DEFAULT_PACE, FoldingWorker, Pace, Shard, held_views
from consumer.listening import DRAIN_SECONDS, listen, runner_of
from consumer.local_token import forget_token, keep_token
from consumer.parts import Parts, node_name
from consumer.peer_proof import PeerProof
from consumer.ruled_shards import CorrelateShards, GuardShards
from consumer.rules_file import ConfigurationFile, RulesFile
from consumer.ruling import InForce
from consumer.settings import Settings
from consumer.terminate.account_loop import LoopParts
from consumer.terminate.role import TerminateRole
from consumer.terminate.shard import SCHEMA as TERMINATE_SCHEMA
from consumer.terminate.shard import TerminateShard
from consumer.workers.assignment import Assignment
from consumer.workers.crew import Crew
from handlers.providers.table import PROVIDERS

logger = logging.getLogger(__name__)

PORTS_TO_TRY = 50
LOG_RECORDS_UNSAVED = 6
"""Of what requests came to: mostly a request's attempts and outcomes are then saved together."""
LEDGER_CACHE_KIBIBYTES = 16 * 1_024
"""Only partitions that accounts fall on have anything to keep, and accounts are few."""
STOP_ORDERS_UNREAD = "the stop orders are still being read"
PARTITIONS_UNREAD = "partitions are still being taken over or read"
TERMINATION_LOG_UNREAD = "the termination log is still being read"


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
        self._configuration = configuration
        self.roles = roles
        self._on_progress = on_progress
        self._next_free_port = next_free_port
        self._stack = AsyncExitStack()
        self._tasks: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._checks: list[Check] = []
        self._watches: list[Watch] = []
        self._routes: list[web.RouteDef] = []
        self._ending = asyncio.Event()
        self._kafka: EmbeddedKafka | None = None
        self._here = HeldHere()
        self._figures: Figures | None = None
        self._joins: list[Callable[[], None]] = []
        self._advertised: str | None = None
        self._webhooks: WebhookServer | None = None
        self._crew = Crew()
        self.ledger: LedgerView | None = None
        self.feed: OrderFeed
        self.in_force: InForce
        self.started: Started

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Work until ``end`` or cancelled; the first task that fails ends all of them and is raised."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_named(name, task()), name=name) for name, task in self._tasks]
                await self._ending.wait()
                self._crew.end()
                if self._webhooks:
                    await self._webhooks.drain(DRAIN_SECONDS)
                for task in tasks:
                    task.cancel()
        except* DatabaseError as errors:  # every role asks the book, and any of them may find its file damaged
            discard_damaged([self.feed.book.view], errors)
            raise

    def end(self) -> None:
        """Let ``run`` take no further webhook, finish those that are on their way, and return."""
        self._ending.set()

    def kill(self) -> None:
        """End at once what would outlive this process; for one that is about to leave without further ado."""
        for pid in (*self._crew.pids, *(self._kafka.pids if self._kafka else ())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def ready(self) -> None:
        """Wait until every check of ``/readyz`` is passed; ``run`` must be under way."""
        while not all(check.passes().ok for check in self._checks):
            await asyncio.sleep(0.02)

    async def _start(self) -> None:
        settings = self.settings
        connection = await self._connection()
        topics = topics_of(settings)
        cluster = await ensure_topics(connection, topics)
        producer = Producer(connection)
        await producer.start()
        self._stack.push_async_callback(producer.stop)
        self._tasks.append(("producer", producer.watch))
        ttl = {account.name: account.decision_ttl for account in settings.accounts.values()}
        path = self._stack.enter_context(own_file(settings.data_dir / "views" / "orders"))
        book = StoredOrderBook(path, cluster_id=cluster.cluster_id, decision_ttl=ttl)
        self.feed = OrderFeed(connection, topics.stop_orders, book=book)
        await self.feed.start()
        self._stack.push_async_callback(self.feed.stop)
        self._tasks.append(("orders", self.feed.run))
        probe = KafkaProbe(self.feed)
        self._tasks.append(("kafka probe", probe.run))
        self._checks.append(Check("kafka", lambda: probe.reachable and not producer.failing, "Kafka does not answer"))
        self._watch(
            "orders", OwnReading(self.feed.readings, self.feed.bounds), lambda: self.feed.ready, STOP_ORDERS_UNREAD
        )
        self.in_force = in_force = InForce(settings, self.feed, self._configuration.hash if self._configuration else "")
        views = settings.data_dir / "views"
        node = node_name(settings.data_dir)
        parts = Parts(connection, topics, cluster, producer, self.feed, in_force, node, views)
        file = RulesFile(self._configuration, settings=settings, in_force=in_force, feed=self.feed, producer=producer)
        self._tasks.append(("rules", file.run))
        self.feed.on_change(lambda: show_controls(self.feed))
        if Role.CORRELATE in self.roles:
            await self._start_correlate(parts)
        if Role.GUARD in self.roles:
            await self._start_guard(parts)
        if Role.TERMINATE in self.roles:
            await self._start_terminate(parts)
        self._tasks.append(("checkpoints", lambda: checkpoint_views(views)))
        token = await self._start_console(parts) if Role.CONSOLE in self.roles else None
        if Role.INGEST in self.roles:
            self._start_ingest(parts)
        if self.roles & {Role.CORRELATE, Role.TERMINATE}:
            proof = PeerProof(settings.accounts.values())
            self._routes += internal_routes(self._here, node=parts.node, proof=proof)
        url = await self._serve_http(parts)
        for join in self._joins:  # whoever learns from the group where we are finds us listening
            join()
        if token:
            keep_token(settings.data_dir, token)
            self._stack.callback(forget_token, settings.data_dir)
        quieten_gc()
        self.started = Started(url, connection.bootstrap_servers, token)

    async def _connection(self) -> Connection:
        if self.settings.kafka.bootstrap_servers is not None:
            return connection_of(self.settings, self.settings.kafka.bootstrap_servers)
        self._kafka = kafka = EmbeddedKafka(self.settings.data_dir, on_progress=self._on_progress)
        await self._stack.enter_async_context(kafka)
        self._tasks.append(("embedded kafka", kafka.supervise))
        return connection_of(self.settings, kafka.bootstrap_servers)

    async def _start_worker(
        self,
        parts: Parts,
        name: str,
        topics: Sequence[str],
        open_shard: Callable[[int], Shard],
        *,
        pace: Pace = DEFAULT_PACE,
    ) -> tuple[FoldingWorker, GroupReader]:
        folder = self._stack.enter_context(only_here(self.settings.data_dir / "views", name))
        show_bytes(name, folder)
        reader = GroupReader(
            parts.connection,
            group=name,
            topics=topics,
            node=parts.node,
            held=lambda: held_views(folder),
            member_file=folder / "member",
            url=lambda: self._advertised,
        )
        worker = FoldingWorker(
            name=name,
            reader=reader,
            producer=parts.producer,
            topics=topics,
            open_shard=open_shard,
            pace=pace,
        )
        await reader.start(join=False)
        self._joins.append(reader.join)
        self._stack.push_async_callback(reader.stop)
        self._stack.push_async_callback(worker.drain)
        self._tasks.append((name, worker.run))
        self._watch(name, worker, lambda: worker.ready, PARTITIONS_UNREAD)
        parts.feed.on_change(worker.wake)
        return worker, reader

    def _watch(self, name: str, watched: Watched, ready: Callable[[], bool], otherwise: str) -> None:
        """Have a reading watched: readiness says how far it is and whether it stands still, which ends the process."""
        watch = Watch(name, watched)
        self._watches.append(watch)
        self._tasks.append((f"{name} watch", watch.run))
        self._checks.append(Check(name, lambda: ready() and not watch.trouble, watch.reason(otherwise)))

    async def _start_correlate(self, parts: Parts) -> None:
        topic = parts.topics.call_events
        shards = CorrelateShards(parts, keeping_of(self.settings, parts.topics))
        pace = Pace(save_at_records=unsaved_events(topic.partitions))
        worker, reader = await self._start_worker(parts, "correlate", [topic.name], shards.open, pace=pace)
        parts.in_force.on_taken(lambda ruling: shards.take(ruling, worker.shards.values()))
        lag = LagWatch(worker, parts.feed, parts.producer, lambda: any(True for _ in parts.in_force.now.rules))
        self._tasks.append(("lag", lag.run))
        self._here.calls = CallQueries(worker, reader, parts.topics)

    async def _start_guard(self, parts: Parts) -> None:
        shards = GuardShards(parts)
        worker, _ = await self._start_worker(parts, "guard", [parts.topics.scope_totals.name], shards.open)
        worker.on_folded(worker.wake)  # an order is judged as soon as the last partition has counted for it
        parts.in_force.on_taken(lambda ruling: shards.take(ruling, worker.shards.values()))
        receiver = receiver_of(self.settings.notify)
        if receiver:
            notifier = Notifier(receiver, parts.feed, lambda: shard.view if (shard := worker.shards.get(0)) else None)
            self._tasks.append(("notify", notifier.run))

    async def _start_terminate(self, parts: Parts) -> None:
        accounts = self.settings.accounts

        def open_shard(partition: int) -> TerminateShard:
            view = parts.view("terminate", partition, TERMINATE_SCHEMA, cache_kibibytes=LEDGER_CACHE_KIBIBYTES)
            return TerminateShard(
                view, topics=parts.topics, book=parts.feed.book, accounts=accounts, providers=PROVIDERS
            )

        names = [parts.topics.terminations.name, parts.topics.termination_log.name]
        worker, reader = await self._start_worker(
            parts, "terminate", names, open_shard, pace=Pace(save_at_records=LOG_RECORDS_UNSAVED)
        )
        self._here.terminate = role = TerminateRole(
            parts=LoopParts(worker, parts.producer, parts.topics, lambda: reader.generation),
            accounts=accounts,
            providers=PROVIDERS,
        )
        worker.on_folded(role.wake)
        self._tasks.append(("dispatch", role.run))

    async def _start_console(self, parts: Parts) -> str | None:
        settings = self.settings
        tokens = [OperatorToken(o.name, o.role, o.token.get_secret_value()) for o in settings.operators]
        made = None if tokens else generated_token()
        path = self._stack.enter_context(only_here(settings.data_dir / "views", "console")).with_suffix(".sqlite")
        self.ledger = LedgerView(parts.connection, parts.topics, parts.cluster, path)
        await self.ledger.start()
        self._stack.push_async_callback(self.ledger.stop)
        ledger = self.ledger
        self._tasks.append(("console", ledger.run))
        reading = OwnReading(ledger.readings, ledger.reader.bounds, lambda: ledger.reader.waited_seconds)
        self._watch("console", reading, lambda: ledger.ready, TERMINATION_LOG_UNREAD)
        elsewhere = Elsewhere(
            parts.connection, parts.topics, node=parts.node, accounts=settings.accounts, here=self._here
        )
        await self._stack.enter_async_context(elsewhere)
        self._figures = elsewhere.figures
        self._tasks.append(("figures", elsewhere.figures.run))
        state = ConsoleState(
            accounts=settings.accounts,
            providers=PROVIDERS,
            operators=Operators(tokens or [made] if made else tokens),
            feed=parts.feed,
            ledger=ledger,
            producer=parts.producer,
            topics=parts.topics,
            calls=elsewhere.calls,
            figures=elsewhere.figures,
            overview=self.overview,
            webhooks=self._webhooks_taken,
            rules=lambda: tuple(parts.in_force.now.rules),
            protected=lambda: parts.in_force.now.protected,
            rejected=RejectedLog(parts.connection, parts.topics.rejected),
            reread=lambda account, event_id, raw: self._reread(parts.topics, account, event_id, raw),
        )
        live = Live(state)
        self._tasks.append(("live", live.run))
        self._routes += [*console_routes(state, live), *page_routes()]
        return made.token if made else None

    def _start_ingest(self, parts: Parts) -> None:
        self._webhooks = self._here.webhooks = webhooks = WebhookServer(
            self.settings.accounts.values(),
            PROVIDERS,
            producer=parts.producer,
            topics=parts.topics,
            max_body_bytes=self.settings.http.max_body,
            signals=signals_of(self.settings, parts.topics),
        )
        self._routes += webhooks.routes()
        if self.settings.http.workers > 1:
            otherwise = "a worker does not answer, or cannot write to Kafka"
            self._checks.append(Check("workers", lambda: self._crew.ready, otherwise))

    async def _serve_http(self, parts: Parts) -> str:
        settings = self.settings.http
        workers = settings.workers - 1 if self._webhooks else 0
        application = web.Application(client_max_size=settings.max_body)
        application.add_routes([*self._routes, *health_routes(Readiness(tuple(self._checks)), self._crew)])
        runner = runner_of(application)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        tries = PORTS_TO_TRY if self._next_free_port else 1
        port = await listen(runner, settings.host, settings.port, tries=tries, shared=workers > 0)
        if self._webhooks:
            self._stack.push_async_callback(self._webhooks.drain, DRAIN_SECONDS)
        if workers:
            await self._start_workers(workers, runner, port, parts)
        self._advertised = advertised_url(settings.host, port, settings.advertise)
        return shown_url(settings.host, port)

    async def _start_workers(self, count: int, runner: web.AppRunner, port: int, parts: Parts) -> None:
        """Start the processes that take webhooks beside this one; they ask it for everything else."""
        folder = self._stack.enter_context(TemporaryDirectory(prefix="callbreaker-"))
        main_socket = str(Path(folder) / "main")
        await web.UnixSite(runner, main_socket).start()
        self._stack.push_async_callback(self._crew.stop)
        await self._crew.start(count, Assignment(self.settings, parts.connection, parts.topics, port, main_socket))
        self._tasks.append(("workers", self._crew.run))

    def _reread(self, topics: Topics, account: str, event_id: str, raw: bytes) -> Sequence[OutRecord]:
        """Read a kept body again with what its account and the providers are now."""
        configured = self.settings.accounts.get(account)
        if configured is None:
            raise StillRejectedError(f"there is no account {account} any more; add it to the configuration")
        taken = Intake(configured, PROVIDERS[configured.provider], topics).read(raw, event_id)
        if taken.reason is not None:
            raise StillRejectedError(taken.reason)
        return taken.records

    def overview(self) -> dict[str, Any]:
        """The figures that the page and the terminal show; null is what only other processes know."""
        if self._figures:
            self._figures.look()
        known, waiting = (self._figures.counts() if self._figures else None) or (None, None)
        verdicts = [check.passes() for check in self._checks]
        return {
            "now": time.time(),
            "ready": all(verdict.ok for verdict in verdicts),
            "checks": [{"name": v.name, "ok": v.ok, "reason": v.reason} for v in verdicts],
            "kafka": {"servers": self.started.kafka_servers, "embedded": self._kafka is not None},
            "webhooks": self._webhooks_taken(),
            "calls": known,
            "waiting": waiting,
            "terminations": self.ledger.ledger.totals() if self.ledger else {},
            "reading_back": [w.progress.as_json() for w in self._watches if w.progress and not w.trouble],
        }

    def _webhooks_taken(self) -> int | None:
        return webhooks_taken() + self._crew.webhooks_taken if self._webhooks else None


async def _named(name: str, task: Awaitable[None]) -> None:
    try:
        await task
    except Exception as error:
        error.add_note(f"this ended the task {name!r}")
        raise
