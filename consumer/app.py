"""The composition root: the only place that knows every part.

``Service`` starts what the asked-for roles need, in order, and ends it in the opposite order. A task that dies takes the
service down loudly; what it had not finished is in the log and goes on with the next start.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from aiohttp import web

from consumer.assembly import connection_of, not_yet, protected_of, rules_of, topics_of
from consumer.console.ledger_view import LedgerView
from consumer.console.operators import Operators, OperatorToken, generated_token
from consumer.console.page import page_routes
from consumer.console.routes import console_routes
from consumer.console.state import CallElsewhereError, ConsoleState, StillRejectedError
from consumer.console.stream import Live
from consumer.correlate.ask_rules import Rules
from consumer.correlate.shard import SCHEMA as CORRELATE_SCHEMA
from consumer.correlate.shard import CorrelateShard
from consumer.guard.shard import SCHEMA as GUARD_SCHEMA
from consumer.guard.shard import GuardShard
from consumer.health import Check, Readiness, health_routes
from consumer.ingest.intake import Intake
from consumer.ingest.metrics import webhooks_taken
from consumer.ingest.server import WebhookServer
from consumer.kafka.connection import Connection
from consumer.kafka.embedded import EmbeddedKafka, OnProgress
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.probe import KafkaProbe
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.reader import GroupReader, fetch_records
from consumer.kafka.rejected import RejectedLog
from consumer.kafka.topics import Cluster, Topics, ensure_topics
from consumer.kafka.view import View
from consumer.kafka.worker import FoldingWorker, Shard, held_views
from consumer.local_token import forget_token, keep_token
from consumer.model.calls import Call
from consumer.model.codec import decode_event
from consumer.model.events import CallEvent, Position
from consumer.settings import Settings
from consumer.terminate.role import TerminateRole
from consumer.terminate.shard import SCHEMA as TERMINATE_SCHEMA
from consumer.terminate.shard import TerminateShard
from handlers.providers.table import PROVIDERS

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
KEEPALIVE_SECONDS = 15.0
PORTS_TO_TRY = 50


class ListenError(Exception):
    """The address for HTTP cannot be listened on."""


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
        on_progress: OnProgress | None = None,
        next_free_port: bool = False,
    ) -> None:
        self.settings = settings
        self.roles = roles
        self._on_progress = on_progress
        self._next_free_port = next_free_port
        self._stack = AsyncExitStack()
        self._tasks: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._checks: list[Check] = []
        self._routes: list[web.RouteDef] = []
        self._ending = asyncio.Event()
        self._kafka: EmbeddedKafka | None = None
        self._correlate: FoldingWorker | None = None
        self._terminate: TerminateRole | None = None
        self._webhooks: WebhookServer | None = None
        self.ledger: LedgerView | None = None
        self.feed: OrderFeed
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
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_named(name, task()), name=name) for name, task in self._tasks]
            await self._ending.wait()
            if self._webhooks:
                await self._webhooks.drain(DRAIN_SECONDS)
            for task in tasks:
                task.cancel()

    def end(self) -> None:
        """Let ``run`` take no further webhook, finish those that are on their way, and return."""
        self._ending.set()

    def kill(self) -> None:
        """End at once what would outlive this process; for one that is about to leave without further ado."""
        for pid in self._kafka.pids if self._kafka else ():
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
        self.feed = OrderFeed(connection, topics.stop_orders, decision_ttl=ttl)
        await self.feed.start()
        self._stack.push_async_callback(self.feed.stop)
        self._tasks.append(("orders", self.feed.run))
        probe = KafkaProbe(self.feed)
        self._tasks.append(("kafka probe", probe.run))
        self._checks.append(Check("kafka", lambda: probe.reachable and not producer.failing, "Kafka does not answer"))
        self._checks.append(Check("orders", lambda: self.feed.ready, "the stop orders are still being read"))
        parts = _Parts(connection, topics, cluster, producer, self.feed, node_name(settings.data_dir))
        if Role.CORRELATE in self.roles:
            await self._start_correlate(parts)
        if Role.GUARD in self.roles:
            await self._start_guard(parts)
        if Role.TERMINATE in self.roles:
            await self._start_terminate(parts)
        token = await self._start_console(parts) if Role.CONSOLE in self.roles else None
        if Role.INGEST in self.roles:
            self._start_ingest(parts)
        url = await self._serve_http()
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
        self, parts: "_Parts", name: str, topics: Sequence[str], open_shard: Callable[[int], Shard]
    ) -> tuple[FoldingWorker, GroupReader]:
        folder = self.settings.data_dir / "views" / name
        reader = GroupReader(
            parts.connection,
            group=name,
            topics=topics,
            node=parts.node,
            held=lambda: held_views(folder),
            member_file=folder / "member",
        )
        worker = FoldingWorker(name=name, reader=reader, producer=parts.producer, topics=topics, open_shard=open_shard)
        await reader.start()
        self._stack.push_async_callback(reader.stop)
        self._stack.push_async_callback(worker.drain)
        self._tasks.append((name, worker.run))
        self._checks.append(Check(name, lambda: worker.ready, "partitions are still being taken over or read"))
        parts.feed.on_change(worker.wake)
        return worker, reader

    def _view(self, parts: "_Parts", name: str, partition: int, schema: str) -> View:
        path = self.settings.data_dir / "views" / name / f"{partition}.sqlite"
        return View(path, schema, cluster_id=parts.cluster.cluster_id)

    async def _start_correlate(self, parts: "_Parts") -> None:
        rules = Rules(rules_of(self.settings))
        for note in not_yet(self.settings):
            logger.warning("%s", note)
        protected = protected_of(self.settings)

        def open_shard(partition: int) -> CorrelateShard:
            view = self._view(parts, "correlate", partition, CORRELATE_SCHEMA)
            return CorrelateShard(
                view, partition=partition, topics=parts.topics, feed=parts.feed, rules=rules, protected=protected
            )

        self._correlate, _ = await self._start_worker(parts, "correlate", [parts.topics.call_events.name], open_shard)

    async def _start_guard(self, parts: "_Parts") -> None:
        def open_shard(partition: int) -> GuardShard:
            view = self._view(parts, "guard", partition, GUARD_SCHEMA)
            return GuardShard(view, feed=parts.feed, admits=partition == 0)

        await self._start_worker(parts, "guard", [parts.topics.scope_totals.name], open_shard)

    async def _start_terminate(self, parts: "_Parts") -> None:
        accounts = self.settings.accounts

        def open_shard(partition: int) -> TerminateShard:
            view = self._view(parts, "terminate", partition, TERMINATE_SCHEMA)
            return TerminateShard(
                view, topics=parts.topics, book=parts.feed.book, accounts=accounts, providers=PROVIDERS
            )

        names = [parts.topics.terminations.name, parts.topics.termination_log.name]
        worker, reader = await self._start_worker(parts, "terminate", names, open_shard)
        self._terminate = role = TerminateRole(
            worker=worker,
            producer=parts.producer,
            topics=parts.topics,
            accounts=accounts,
            providers=PROVIDERS,
            generation=lambda: reader.generation,
        )
        worker.on_folded(role.wake)
        self._tasks.append(("dispatch", role.run))

    async def _start_console(self, parts: "_Parts") -> str | None:
        settings = self.settings
        tokens = [OperatorToken(o.name, o.role, o.token.get_secret_value()) for o in settings.operators]
        made = None if tokens else generated_token()
        self.ledger = LedgerView(
            parts.connection, parts.topics, parts.cluster, settings.data_dir / "views" / "console.sqlite"
        )
        await self.ledger.start()
        self._stack.push_async_callback(self.ledger.stop)
        ledger = self.ledger
        self._tasks.append(("console", ledger.run))
        self._checks.append(Check("console", lambda: ledger.ready, "the termination log is still being read"))
        state = ConsoleState(
            accounts=settings.accounts,
            providers=PROVIDERS,
            operators=Operators(tokens or [made] if made else tokens),
            feed=parts.feed,
            ledger=ledger,
            producer=parts.producer,
            topics=parts.topics,
            find_call=lambda account, call_id: self._find_call(parts.topics, account, call_id),
            history=lambda call: self._history(parts, call),
            account_status=self._account_status,
            overview=self.overview,
            rejected=RejectedLog(parts.connection, parts.topics.rejected),
            reread=lambda account, event_id, raw: self._reread(parts.topics, account, event_id, raw),
        )
        live = Live(state)
        self._tasks.append(("live", live.run))
        self._routes += [*console_routes(state, live), *page_routes()]
        return made.token if made else None

    def _start_ingest(self, parts: "_Parts") -> None:
        self._webhooks = webhooks = WebhookServer(
            self.settings.accounts.values(),
            PROVIDERS,
            producer=parts.producer,
            topics=parts.topics,
            max_body_bytes=self.settings.http.max_body,
        )
        self._routes += webhooks.routes()

    async def _serve_http(self) -> str:
        settings = self.settings.http
        application = web.Application(client_max_size=settings.max_body)
        application.add_routes([*self._routes, *health_routes(Readiness(tuple(self._checks)))])
        runner = web.AppRunner(
            application,
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,
            auto_decompress=False,
            max_line_size=8190,
            max_field_size=8190,
            shutdown_timeout=DRAIN_SECONDS,
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        port = await _listen(runner, settings.host, settings.port, PORTS_TO_TRY if self._next_free_port else 1)
        if self._webhooks:
            self._stack.push_async_callback(self._webhooks.drain, DRAIN_SECONDS)
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104 -- only to be shown
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _find_call(self, topics: Topics, account: str, call_id: str) -> Call | None:
        partition = topics.partition_of_call(account, call_id)
        shard = self._correlate.shards.get(partition) if self._correlate else None
        if not isinstance(shard, CorrelateShard):
            raise CallElsewhereError(
                f"partition {partition} of call-events, which holds the call, is held by another worker"
            )
        return shard.calls.get(account, call_id)

    async def _history(self, parts: "_Parts", call: Call) -> list[CallEvent]:
        topic = parts.topics.call_events
        partition = parts.topics.partition_of_call(call.account, call.call_id)
        records = await fetch_records(parts.connection, topic.name, partition, call.history)
        return [
            decode_event(record.value, Position(topic.name, partition, record.offset), record.timestamp / 1_000)
            for record in records
        ]

    def _reread(self, topics: Topics, account: str, event_id: str, raw: bytes) -> Sequence[OutRecord]:
        """Read a kept body again with what its account and the providers are now."""
        configured = self.settings.accounts.get(account)
        if configured is None:
            raise StillRejectedError(f"there is no account {account} any more; add it to the configuration")
        taken = Intake(configured, PROVIDERS[configured.provider], topics).read(raw, event_id)
        if taken.reason is not None:
            raise StillRejectedError(taken.reason)
        return taken.records

    def _account_status(self, account: str) -> dict[str, Any]:
        """What this process knows of an account's traffic; null where another worker knows."""
        health = self._terminate.health(account) if self._terminate else None
        last_webhook_at = self._webhooks.last_webhook_at.get(account) if self._webhooks else None
        return {
            "breaker": health.health.breaker if health else None,
            "held": health.health.held if health else None,
            "backlog": health.backlog if health else None,
            "requests": health.health.requests if health else None,
            "last_webhook_at": last_webhook_at,
            "last_success_at": health.health.last_success_at if health else None,
        }

    def overview(self) -> dict[str, Any]:
        """The figures that the page and the terminal show; null is what only other processes know."""
        calls = [shard.calls.count() for shard in self._correlate_shards()]
        verdicts = [check.passes() for check in self._checks]
        return {
            "now": time.time(),
            "ready": all(verdict.ok for verdict in verdicts),
            "checks": [{"name": v.name, "ok": v.ok, "reason": v.reason} for v in verdicts],
            "kafka": {"servers": self.started.kafka_servers, "embedded": self._kafka is not None},
            "webhooks": webhooks_taken() if self._webhooks else None,
            "calls": sum(known for known, _ in calls) if self._correlate else None,
            "waiting": sum(waiting for _, waiting in calls) if self._correlate else None,
            "terminations": self.ledger.ledger.totals() if self.ledger else {},
        }

    def _correlate_shards(self) -> list[CorrelateShard]:
        shards = self._correlate.shards.values() if self._correlate else ()
        return [shard for shard in shards if isinstance(shard, CorrelateShard)]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What every role is made from."""

    connection: Connection
    topics: Topics
    cluster: Cluster
    producer: Producer
    feed: OrderFeed
    node: str


async def _named(name: str, task: Awaitable[None]) -> None:
    try:
        await task
    except Exception as error:
        error.add_note(f"this ended the task {name!r}")
        raise


async def _listen(runner: web.AppRunner, host: str, port: int, tries: int) -> int:
    """Listen on ``port``, or on one of the following; gives the port taken.

    Raises:
        ListenError: none of them can be had.

    """
    last: OSError | None = None
    for candidate in range(port, port + tries):
        try:
            await web.TCPSite(runner, host, candidate).start()
        except OSError as error:
            last = error
        else:
            return int(runner.addresses[0][1])
    ports = f"port {port}" if tries == 1 else f"the ports {port} to {port + tries - 1}"
    raise ListenError(
        f"{ports} on {host} cannot be listened on: {os.strerror(last.errno) if last and last.errno else last}. "
        "End what listens there, or set http.port and http.host (CALLBREAKER__HTTP__PORT) to another address."
    ) from last


def quieten_gc() -> None:
    """Tell the garbage collector that what is there now stays, and to look at new objects less often.

    Nothing of ours makes cycles on a hot path; by default it walks over the whole program many times a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def node_name(data_dir: Path) -> str:
    """The stable name of this node, kept beside its views."""
    path = data_dir / "node"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex)
    return path.read_text().strip()
