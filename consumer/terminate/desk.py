"""What the sending side of one account works with: its connections, its rate, and the log around each of its requests."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.topics import Topics
from consumer.kafka.worker import FoldingWorker
from consumer.model.accounts import Account
from consumer.model.provider import Answer, Provider
from consumer.model.terminations import AnswerClass, Record, Termination
from consumer.terminate.breaker import Endpoint
from consumer.terminate.dispatcher import Dispatcher
from consumer.terminate.entries import Request
from consumer.terminate.inspector import Inspector
from consumer.terminate.sender import Sender
from consumer.terminate.shard import TerminateShard

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
DEPARTURE_SECONDS = 0.02
"""So often one that waits to leave looks whether another has been answered."""


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What every account's loop works with. ``generation`` grows whenever partitions may have moved."""

    worker: FoldingWorker
    producer: Producer
    topics: Topics
    generation: Callable[[], int]
    clock: Clock = SYSTEM_CLOCK
    sender: Callable[[], Sender] = Sender
    new_id: Callable[[], str] = lambda: uuid4().hex
    idle_seconds: float = IDLE_SECONDS


@dataclass(frozen=True, slots=True)
class Owned:
    """What there is of an account while this worker holds its partition."""

    shard: TerminateShard
    dispatcher: Dispatcher


class Desk:
    """One account's requests: started, kept in mind until they are finished, and written down."""

    def __init__(self, account: Account, provider: Provider, parts: LoopParts, on_finished: Callable[[], None]) -> None:
        self.account = account
        self.provider = provider
        self.parts = parts
        self.clock = parts.clock
        self.sender = parts.sender()
        self.inspector = Inspector(account, provider, self.sender, parts.producer, parts.topics, clock=parts.clock)
        self.ending = False
        self._on_finished = on_finished
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self.account.name

    def epoch(self) -> float:
        """What turns a moment of the dispatcher's clock into seconds since the epoch, as the log holds them."""
        return self.clock.now() - self.clock.monotonic()

    def holds(self, shard: TerminateShard) -> bool:
        """Whether the shard is still this worker's, and its view open."""
        return self.parts.worker.shards.get(self.parts.topics.partition_of_account(self.name)) is shard

    def start(
        self, owned: Owned, request: Request, work: Coroutine[Any, Any, None], endpoint: Endpoint = Endpoint.STOP
    ) -> None:
        """Begin a request; its token has been taken."""
        owned.dispatcher.started(request.request_id, request.termination_ids, endpoint)
        task = asyncio.create_task(work, name=f"{self.name} {request.request_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(owned.dispatcher, request, done))

    def _finished(self, dispatcher: Dispatcher, request: Request, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s: a request died: %r", self.name, error, exc_info=error)
            died = Answer(AnswerClass.UNKNOWN, repr(error))
            dispatcher.answered(request.request_id, died, self.clock.monotonic())
            dispatcher.folded(request.request_id)
        self._on_finished()

    async def close(self, grace_seconds: float) -> None:
        """Let what is in flight be answered and written down, within a grace period, and close the connections."""
        self.ending = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self.sender.close()

    async def log(self, shard: TerminateShard, records: Sequence[Record]) -> Sequence[OutRecord]:
        """Write to ``termination-log``, and wait until it is written; gives what was."""
        written = shard.records(records)
        await self.parts.producer.publish_all(written)
        return written

    async def log_and_learn(self, shard: TerminateShard, records: Sequence[Record]) -> None:
        """Write, and know it at once, long before it is read back from the log where much is waiting there."""
        written = await self.log(shard, records)
        if self.holds(shard):
            shard.learn(records, written)

    async def departure(self, dispatcher: Dispatcher, request: Request, leaves_by: float) -> None:
        """Wait until the request may leave: writing its attempts takes a varying time, and two may have come together.

        Nothing is waited for beyond ``leaves_by`` (monotonic), nor where this worker is ``ending``: then nothing leaves.
        """
        dispatcher.prepared(request.request_id, self.clock.monotonic())
        while not self.ending and (moment := self.clock.monotonic()) <= leaves_by:
            if dispatcher.try_depart(request.request_id, moment):
                self._on_finished()  # the next may take its place
                return
            await asyncio.sleep(min(max(0.001, dispatcher.rate_at(moment) - moment), DEPARTURE_SECONDS))

    async def token(self, dispatcher: Dispatcher) -> None:
        """Wait for the account's rate to allow one more request."""
        while not dispatcher.try_take(moment := self.clock.monotonic()):
            await asyncio.sleep(max(0.005, min(dispatcher.rate_at(moment) - moment, 1.0)))

    async def look(self, dispatcher: Dispatcher, t: Termination) -> tuple[Answer, list[Record]]:
        """Ask the provider how a call or a scope stands; the first request has its token."""
        return await self.inspector.look(t, lambda: self.token(dispatcher))
