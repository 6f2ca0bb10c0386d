"""A node, and the processes that live on it one after the other: all roles in one, as ``callbreaker run``.

This is the composition of the real parts; only what touches the world around a process is simulated.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogError
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.pace import Pace
from consumer.kafka.producer import Producer
from consumer.kafka.worker import FoldingWorker, Shard
from consumer.terminate.account_loop import LoopParts
from consumer.terminate.role import TerminateRole
from tests.simulation.fetcher import Fetcher
from tests.simulation.loop import Crashed, Process
from tests.simulation.machine import Machine
from tests.simulation.producer import SimulatedProducer
from tests.simulation.readers import SimulatedGroupReader, SimulatedTopicReader
from tests.simulation.sender import SimulatedSender
from tests.simulation.shards import Shards, overheard

PATIENCE_SECONDS = {"correlate": 0.02, "guard": 2.0, "terminate": 0.02}
"""How long a role's fetches take at most; the totals that guard reads are many, and in no hurry."""
START_AGAIN_SECONDS = 1.0
UNSAVED = {"correlate": 8, "terminate": 4}
UNSAVED_SILENT = {"correlate": 24}
"""Few, and many to what a world has: most saves come before a commit, some from the number of records."""
NOWHERE = Connection("nowhere:0")


class Choice(NamedTuple):
    """When a request was made up (by its machine's clock), and how far ``stop-orders`` had been read then."""

    at: float
    orders_read: int


class Life:
    """One process: its workers and what they hold, from its start to its death."""

    def __init__(self, machine: Machine, name: str, *, guards: bool) -> None:
        self._guards = guards
        self.process = Process(name)
        self.feed: OrderFeed
        self.workers: dict[str, tuple[FoldingWorker, SimulatedGroupReader]] = {}
        self.choices: dict[str, Choice] = {}
        self._machine = machine
        self._around = machine.around
        self._shards = Shards(machine, self.touch)

    async def gate(self, what: str) -> None:
        """Pass a point at which the process may die, and then never gets past it, or freeze."""
        self._around.faults.touch(self.process, what)
        if not self.process.alive:
            await self._around.loop.create_future()
        if self.process.frozen:
            await asyncio.sleep(0)

    def touch(self, what: str) -> None:
        """Pass such a point in code that cannot wait.

        Raises:
            Crashed: the process has died.

        """
        if self.process.alive:
            self._around.faults.touch(self.process, what)
        if not self.process.alive:
            raise Crashed

    async def run(self) -> None:
        """Start the roles and run them until the first of them fails."""
        topics = self._around.topics
        self.feed = OrderFeed(NOWHERE, topics.stop_orders, book=self._shards.open_book(), reader=self._order_reader())
        producer = SimulatedProducer(self._around, self.process, self.gate)
        await self.feed.start()
        self._add("correlate", [topics.call_events.name], producer)
        if self._guards:
            self._add("guard", [topics.scope_totals.name], producer)
        self._add("terminate", [topics.terminations.name, topics.termination_log.name], producer)
        dispatch = self._dispatch(producer)
        for _, reader in self.workers.values():
            await reader.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.feed.run(), name="orders")
            group.create_task(dispatch.run(), name="dispatch")
            for name, (worker, _) in self.workers.items():
                group.create_task(worker.run(), name=name)

    def _order_reader(self) -> SimulatedTopicReader:
        around = self._around
        fetcher = Fetcher(around.loop, around.log, around.random, self.process)
        return SimulatedTopicReader(
            fetcher, around.topics.stop_orders, log=around.log, gate=self.gate, late=around.faults.orders_late
        )

    def _add(self, role: str, names: Sequence[str], producer: Producer) -> None:
        around = self._around
        reader = SimulatedGroupReader(
            Fetcher(around.loop, around.log, around.random, self.process, fetch_seconds=PATIENCE_SECONDS[role]),
            around.groups[role],
            topics=names,
            log=around.log,
            process=self.process,
            node=self._machine.name,
            held=lambda: self._machine.disk.held(role),
            gate=self.gate,
        )
        worker = FoldingWorker(
            name=role,
            reader=reader,
            producer=producer,
            topics=names,
            open_shard=lambda partition: self._open(role, partition, reader),
            clock=self._machine.clock,
            pace=Pace(around.faults.plan.pace_seconds, UNSAVED.get(role, 1), UNSAVED_SILENT.get(role, 1), 0.0),
        )
        self.feed.on_change(worker.wake)
        self.workers[role] = worker, reader

    def _open(self, role: str, partition: int, reader: SimulatedGroupReader) -> Shard:
        def heard(where: str) -> None:
            self._around.blame("silent-replay", f"{self.process.name} spoke while it replayed {where}")

        return overheard(self._shards.open(role, partition, self.feed), reader, heard)

    def _dispatch(self, producer: Producer) -> TerminateRole:
        around = self._around
        worker, reader = self.workers["terminate"]
        parts = LoopParts(
            worker,
            producer,
            around.topics,
            lambda: reader.generation,
            clock=self._machine.clock,
            sender=lambda: SimulatedSender(around.wire, self.process, self.gate),
            new_id=self._new_id,
            idle_seconds=around.faults.plan.pace_seconds,
        )
        role = TerminateRole(parts=parts, accounts=around.accounts, providers=around.providers)
        worker.on_folded(role.wake)
        return role

    def _new_id(self) -> str:
        """Name a request; it is asked for right after its calls were chosen."""
        name = f"{self.process.name}-{len(self.choices) + 1}"
        self.choices[name] = Choice(self._machine.now(), self.feed.next_offset)
        return name


class Node:
    """A machine with the processes that it has had."""

    def __init__(self, machine: Machine, *, guards: bool) -> None:
        self.machine = machine
        self.guards = guards
        self.lives: list[Life] = []
        self._around = machine.around

    @property
    def life(self) -> Life:
        """The present process, or the last one."""
        return self.lives[-1]

    @property
    def running(self) -> bool:
        return bool(self.lives) and self.life.process.runs

    def start(self) -> None:
        """Start a process, unless one lives."""
        loop = self._around.loop
        if loop.over or (self.lives and self.life.process.alive):
            return
        life = Life(self.machine, f"{self.machine.name}.{len(self.lives)}", guards=self.guards)
        self.lives.append(life)
        self._around.note(life.process.name, "starts")
        task = loop.spawn(life.process, life.run())
        task.add_done_callback(lambda done: self._ended(life, done), context=loop.world.context)

    def crash(self, process: Process) -> None:
        """Kill the process; its group learns of that when its session is over."""
        self._around.loop.kill(process)
        self.fell_silent(process)

    def fell_silent(self, process: Process) -> None:
        for group in self._around.groups.values():
            group.fell_silent(process)

    def _ended(self, life: Life, task: asyncio.Task[None]) -> None:
        """Take notice of a process that ended by itself: because Kafka did not answer, or because of a fault of ours."""
        loop = self._around.loop
        if not life.process.alive or task.cancelled() or loop.over:
            return
        error = task.exception()
        self._around.note(life.process.name, f"ends: {error!r}")
        if not _is_about_kafka(error):
            self._around.blame("died", f"{life.process.name} died of {error!r}")
        self.crash(life.process)
        loop.after(START_AGAIN_SECONDS, loop.world, self.start)


def _is_about_kafka(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_about_kafka(one) for one in error.exceptions)
    return isinstance(error, LogError)
