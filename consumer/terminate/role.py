"""The terminate role: for each account one loop that sends what is wanted, as fast as the provider allows."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from consumer.kafka.producer import Producer
from consumer.kafka.topics import Topics
from consumer.kafka.worker import FoldingWorker
from consumer.model.accounts import Account
from consumer.model.provider import Answer, BatchOfCallIds, Provider
from consumer.model.terminations import AnswerClass, Attempt, Result, State, Termination
from consumer.terminate import metrics
from consumer.terminate.dispatcher import Dispatcher, Health, bisected
from consumer.terminate.sender import Sender
from consumer.terminate.shard import TerminateShard

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
GRACE_SECONDS = 20.0
SPLIT = {AnswerClass.POISON, AnswerClass.NOT_FOUND}


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """How the sending of one account goes; None where another worker owns the account."""

    backlog: int
    health: Health


class TerminateRole:
    """Owns the dispatchers of the accounts whose partitions this worker holds."""

    def __init__(
        self,
        *,
        worker: FoldingWorker,
        producer: Producer,
        topics: Topics,
        accounts: Mapping[str, Account],
        providers: Mapping[str, Provider],
        generation: Callable[[], int],
    ) -> None:
        self._worker = worker
        self._producer = producer
        self._topics = topics
        self._accounts = accounts
        self._providers = providers
        self._generation = generation
        self._dispatchers: dict[str, tuple[TerminateShard, Dispatcher]] = {}
        self._wakes = {name: asyncio.Event() for name in accounts}
        self._sends: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look at every account's backlog now."""
        for event in self._wakes.values():
            event.set()

    def health(self, account: str) -> AccountHealth | None:
        owned = self._owned(self._accounts[account])
        if owned is None:
            return None
        shard, dispatcher = owned
        return AccountHealth(shard.ledger.backlog(account), dispatcher.health(time.time()))

    async def run(self) -> None:
        """Send until cancelled; what is in flight then is finished within a grace period."""
        try:
            async with asyncio.TaskGroup() as group:
                for account in self._accounts.values():
                    if self._providers[account.provider].capabilities.by_id:
                        group.create_task(self._serve(account), name=f"terminate {account.name}")
        finally:
            if self._sends:
                await asyncio.wait(self._sends, timeout=GRACE_SECONDS)

    def _owned(self, account: Account) -> tuple[TerminateShard, Dispatcher] | None:
        """The shard and dispatcher of an account, if its partition is ours and read up to its end."""
        shard = self._worker.shards.get(self._topics.partition_of_account(account.name))
        if not isinstance(shard, TerminateShard) or not shard.caught_up:
            self._dispatchers.pop(account.name, None)
            return None
        owned = self._dispatchers.get(account.name)
        if owned is None or owned[0] is not shard:
            owned = self._dispatchers[account.name] = (shard, Dispatcher(account, now=time.time()))
        return owned

    async def _serve(self, account: Account) -> None:
        sender = Sender()
        try:
            while True:
                wait = await self._step(account, sender)
                await self._sleep(account, wait)
        finally:
            if self._sends:
                await asyncio.wait(self._sends, timeout=GRACE_SECONDS)
            await sender.close()

    async def _sleep(self, account: Account, seconds: float) -> None:
        event = self._wakes[account.name]
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                pass
        event.clear()

    async def _step(self, account: Account, sender: Sender) -> float:
        """Send one request if there is one to send; gives how long to wait before looking again."""
        owned = self._owned(account)
        if owned is None:
            return IDLE_SECONDS
        shard, dispatcher = owned
        for request_id in shard.newly_answered(account.name):
            dispatcher.folded(request_id)
        now = time.time()
        if not dispatcher.pinned and not shard.ledger.to_send(account.name, now, 1, dispatcher.busy_ids):
            return IDLE_SECONDS
        ready_at = dispatcher.next_at(now)
        if ready_at > now:
            return min(ready_at - now, IDLE_SECONDS)
        if not dispatcher.pinned and (wait := self._gathering(account, shard, dispatcher, now)) > 0:
            return wait
        if not dispatcher.try_start(now):
            return IDLE_SECONDS
        batch = await self._choose(account, shard, dispatcher, now)
        if batch:
            self._start(account, sender, shard, dispatcher, batch)
        return 0.0

    def _gathering(self, account: Account, shard: TerminateShard, dispatcher: Dispatcher, now: float) -> float:
        """How long a batch that is not full should still wait for more."""
        wait = shard.gathered_at(account) - time.monotonic()
        if wait <= 0:
            return 0.0
        size = dispatcher.batch_size
        full = len(shard.ledger.to_send(account.name, now, size, dispatcher.busy_ids)) == size
        return 0.0 if full else wait

    async def _choose(
        self, account: Account, shard: TerminateShard, dispatcher: Dispatcher, now: float
    ) -> tuple[Termination, ...]:
        if dispatcher.pinned:
            return shard.still_wanted(dispatcher.pinned.popleft(), now)
        choice = shard.choose(account, now, dispatcher.batch_size, dispatcher.busy_ids)
        if choice.closed:
            await self._producer.publish_all([shard.record(result) for result in choice.closed])
        return choice.batch

    def _start(
        self,
        account: Account,
        sender: Sender,
        shard: TerminateShard,
        dispatcher: Dispatcher,
        batch: tuple[Termination, ...],
    ) -> None:
        request_id = uuid4().hex
        dispatcher.started(request_id, tuple(t.termination_id for t in batch))
        task = asyncio.create_task(
            self._request(account, sender, shard, dispatcher, _Request(request_id, batch)),
            name=f"request {account.name}",
        )
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _request(
        self, account: Account, sender: Sender, shard: TerminateShard, dispatcher: Dispatcher, request: "_Request"
    ) -> None:
        """Attempt record, request, outcome records: in this order, each acknowledged before the next."""
        provider = self._providers[account.provider]
        generation = self._generation()
        ids = BatchOfCallIds.of((t.call_id for t in request.batch), provider.capabilities.batch_limit)
        http_request = provider.terminate(account, ids)
        attempts = [_attempt(t, request, time.time()) for t in request.batch]
        await self._producer.publish_all([shard.record(attempt) for attempt in attempts])
        if generation != self._generation():
            answer, status = Answer(AnswerClass.NOT_SENT, "the account has moved to another worker"), None
        else:
            started = time.monotonic()
            answer, status = await sender.send(provider, http_request)
            metrics.SECONDS.labels(account.name).observe(time.monotonic() - started)
        metrics.REQUESTS.labels(account.name, answer.answer).inc()
        metrics.IDS.labels(account.name).inc(len(request.batch))
        now = time.time()
        retry_at = dispatcher.answered(request.request_id, answer, now)
        if answer.answer in SPLIT and len(request.batch) > 1:
            dispatcher.pinned.extend(bisected(tuple(t.termination_id for t in request.batch)))
        results = [_result(t, request, answer, status, now, retry_at) for t in request.batch]
        if answer.answer in SPLIT and len(request.batch) == 1:
            results.append(_final(request.batch[0], answer, now))
        _log_answer(account, request, answer, status)
        await self._producer.publish_all([shard.record(result) for result in results])
        self._wakes[account.name].set()


@dataclass(frozen=True, slots=True)
class _Request:
    request_id: str
    batch: tuple[Termination, ...]


def _attempt(t: Termination, request: _Request, now: float) -> Attempt:
    return Attempt(
        termination_id=t.termination_id,
        account=t.account,
        call_id=t.call_id,
        episode=t.episode,
        request_id=request.request_id,
        n=len(t.attempts) + 1,
        at=now,
        orders=t.orders,
        size=len(request.batch),
    )


def _result(
    t: Termination, request: _Request, answer: Answer, status: int | None, now: float, retry_at: float
) -> Result:
    return Result(
        termination_id=t.termination_id,
        account=t.account,
        call_id=t.call_id,
        episode=t.episode,
        at=now,
        request_id=request.request_id,
        n=len(t.attempts) + 1,
        answer=answer.answer,
        http_status=status,
        detail=answer.detail,
        retry_at=retry_at,
    )


def _final(t: Termination, answer: Answer, now: float) -> Result:
    """A call that alone makes the provider refuse the request: it is not known there, or its id cannot be read."""
    outcome = State.NOT_FOUND if answer.answer is AnswerClass.NOT_FOUND else State.FAILED
    return Result(
        termination_id=t.termination_id,
        account=t.account,
        call_id=t.call_id,
        episode=t.episode,
        at=now,
        outcome=outcome,
        detail=answer.detail,
        orders=t.orders,
    )


def _log_answer(account: Account, request: _Request, answer: Answer, status: int | None) -> None:
    quiet = answer.answer in {AnswerClass.ACCEPTED, AnswerClass.NONE_TERMINABLE}
    logger.log(
        logging.INFO if quiet else logging.WARNING,
        "%s: request %s for %d calls: %s (HTTP %s) %s",
        account.name,
        request.request_id,
        len(request.batch),
        answer.answer,
        status,
        answer.detail,
    )
