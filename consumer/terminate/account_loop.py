"""The sending side of one account: one loop, one rate, one connection pool.

What there is to do, in this order: requests that stop calls; looks at calls whose stop nothing has confirmed; a page of
the call history. Every one of them takes a token of the account's rate limit first.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.producer import Producer
from consumer.kafka.topics import Topics
from consumer.kafka.worker import FoldingWorker
from consumer.model.accounts import Account
from consumer.model.orders import OrderRecord
from consumer.model.provider import (
    Answer,
    BatchOfCallIds,
    HistoryQuery,
    Provider,
    Selector,
    UnsafeRequest,
    WholeScope,
)
from consumer.model.terminations import AnswerClass, Looked, Record, State, Termination
from consumer.terminate import entries, looks, metrics
from consumer.terminate.dispatcher import Dispatcher, Health, bisected
from consumer.terminate.entries import Request
from consumer.terminate.inspector import Inspector
from consumer.terminate.next_step import MAX_SENDS, must_look_first
from consumer.terminate.reconcile import Reconciler, queries_for
from consumer.terminate.sender import Sender
from consumer.terminate.shard import TerminateShard

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
GRACE_SECONDS = 20.0
LEAVES_WITHIN_SECONDS = 10.0
"""What has not left so long after it was chosen stays: with the time a request may take this is less than the time after
which another worker takes it for unanswered."""
LOOK_HOLDS_SECONDS = 3.0
"""So long after it was seen waiting a call may be asked for, where a stop would cut a live one."""
SPLIT = {AnswerClass.POISON, AnswerClass.NOT_FOUND}
LOOKS_AT_ONCE = 500
HISTORY_FROM = 5
"""So many looks due in one campaign, and a page of its history costs less than looking at each."""


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """How the sending of one account goes."""

    backlog: int
    health: Health


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


class AccountLoop:
    """Sends for one account while this worker holds its partition."""

    def __init__(self, account: Account, provider: Provider, parts: LoopParts) -> None:
        self._account = account
        self._provider = provider
        self._parts = parts
        self._clock = parts.clock
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._owned: tuple[TerminateShard, Dispatcher] | None = None
        self._reconciler = Reconciler(account.reconcile.every)
        self._looks_from = 0.0
        self._sweeping = False
        self._ending = False
        self._sender = parts.sender()
        self._inspector = Inspector(account, provider, self._sender, parts.producer, parts.topics, clock=parts.clock)

    def wake(self) -> None:
        """Look at the backlog now."""
        self._wake.set()

    def health(self) -> AccountHealth | None:
        """How the sending goes; None where another worker owns the account."""
        owned = self._own()
        if owned is None:
            return None
        shard, dispatcher = owned
        return AccountHealth(shard.ledger.backlog(self._account.name), self._health(dispatcher))

    def _health(self, dispatcher: Dispatcher) -> Health:
        """How the sending goes, with its last success in seconds since the epoch."""
        health = dispatcher.health(self._clock.monotonic())
        last = health.last_success_at
        return health if last is None else replace(health, last_success_at=last + self._epoch())

    def _epoch(self) -> float:
        """What turns a moment of the dispatcher's clock into seconds since the epoch, as the log holds them."""
        return self._clock.now() - self._clock.monotonic()

    async def run(self) -> None:
        """Work until cancelled; what is in flight then is finished within a grace period."""
        try:
            while True:
                await self._sleep(await self._step())
        finally:
            self._ending = True
            if self._tasks:
                _, late = await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
                for task in late:
                    task.cancel()
                if late:
                    await asyncio.wait(late)
            await self._sender.close()

    def _own(self) -> tuple[TerminateShard, Dispatcher] | None:
        """The shard and dispatcher, if the account's partition is ours and read up to its end."""
        if not self._parts.worker.settled:
            return None  # partitions are moving; what is in flight is kept in mind
        partition = self._parts.topics.partition_of_account(self._account.name)
        shard = self._parts.worker.shards.get(partition)
        if not isinstance(shard, TerminateShard) or not shard.caught_up:
            self._owned = None
        elif self._owned is None or self._owned[0] is not shard:
            self._owned = (shard, self._new_dispatcher())
        return self._owned

    def _new_dispatcher(self) -> Dispatcher:
        limit = max(1, self._provider.capabilities.batch_limit)
        return Dispatcher(self._account, now=self._clock.monotonic(), batch_limit=limit)

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._wake.clear()

    async def _step(self) -> float:
        """Do one thing if there is one to do; gives how long to wait before looking again."""
        owned = self._own()
        if owned is None:
            return self._parts.idle_seconds
        shard, dispatcher = owned
        for request_id in shard.newly_answered(self._account.name):
            dispatcher.folded(request_id)
        moment, now = self._clock.monotonic(), self._clock.now()
        ready_at = dispatcher.next_at(moment)
        if ready_at > moment:
            return min(ready_at - moment, self._parts.idle_seconds)
        if dispatcher.pinned or shard.to_send(self._account.name, now, 1, dispatcher.busy_ids):
            return await self._stop_calls(shard, dispatcher, now)
        return self._look_around(shard, dispatcher, now)

    async def _stop_calls(self, shard: TerminateShard, dispatcher: Dispatcher, now: float) -> float:
        """Take a token, then choose the calls, then send."""
        if not dispatcher.pinned and (wait := self._gathering(shard, dispatcher, now)) > 0:
            return wait
        if not dispatcher.try_start(self._clock.monotonic()):
            return self._parts.idle_seconds
        if dispatcher.pinned:
            batch = shard.still_wanted(dispatcher.next_pinned(), now)
        else:
            choice = shard.choose(self._account, now, dispatcher.batch_size, dispatcher.busy_ids)
            batch = choice.batch
            await self._log(shard, choice.settled)
        if batch:
            request = Request(self._parts.new_id(), batch)
            self._start(dispatcher, request, self._request(shard, dispatcher, request))
        return 0.0

    def _gathering(self, shard: TerminateShard, dispatcher: Dispatcher, now: float) -> float:
        """How long a batch that is not full should still wait for more."""
        wait = shard.gathered_at(self._account) - self._clock.monotonic()
        if wait <= 0:
            return 0.0
        size = dispatcher.batch_size
        full = len(shard.to_send(self._account.name, now, size, dispatcher.busy_ids)) == size
        return 0.0 if full else wait

    def _look_around(self, shard: TerminateShard, dispatcher: Dispatcher, now: float) -> float:
        """With nothing to stop, look at what is unconfirmed, else read a page of the history."""
        moment, idle = self._clock.monotonic(), self._parts.idle_seconds
        if moment < self._looks_from:
            return idle
        due = [
            t
            for t in shard.ledger.to_look(self._account.name, now, LOOKS_AT_ONCE)
            if t.termination_id not in dispatcher.busy_ids
        ]
        if due and self._sweeping and self._can_sweep(due[0]):
            return idle  # one sweep at a time: what is due by then goes into the next
        if due and dispatcher.try_start(moment):
            self._start_look(shard, dispatcher, due)
            return 0.0
        if self._provider.capabilities.history and not due:
            orders = shard.orders_to_sweep_for(self._account.name, now)
            page = self._reconciler.next_page(queries_for(orders), moment)
            if page is not None:
                if not dispatcher.try_start(moment):
                    self._reconciler.postponed()
                    return idle
                request = Request(f"page-{self._parts.new_id()}", ())
                self._start(dispatcher, request, self._read_page(dispatcher, request, page))
                return 0.0
        return idle if due else self._look_up_named(shard, dispatcher, now)

    def _look_up_named(self, shard: TerminateShard, dispatcher: Dispatcher, now: float) -> float:
        """Look up a call that an order names by id and about which nothing was decided."""
        if not self._provider.capabilities.look_up:
            return self._parts.idle_seconds
        orders = shard.orders_naming_calls(self._account.name, now)
        named = self._reconciler.next_named(orders, shard.is_decided, now)
        if named is None:
            return self._parts.idle_seconds
        if not dispatcher.try_start(self._clock.monotonic()):
            self._reconciler.named_later(*named)
            return self._parts.idle_seconds
        request = Request(f"look-{self._parts.new_id()}", ())
        self._start(dispatcher, request, self._look_up(shard, dispatcher, request, named))
        return 0.0

    def _start(self, dispatcher: Dispatcher, request: Request, work: Coroutine[Any, Any, None]) -> None:
        dispatcher.started(request.request_id, request.termination_ids)
        task = asyncio.create_task(work, name=f"{self._account.name} {request.request_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(dispatcher, request, done))

    def _finished(self, dispatcher: Dispatcher, request: Request, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("%s: a request died: %r", self._account.name, error, exc_info=error)
            died = Answer(AnswerClass.UNKNOWN, repr(error))
            dispatcher.answered(request.request_id, died, self._clock.monotonic())
            dispatcher.folded(request.request_id)
        self._wake.set()

    async def _request(self, shard: TerminateShard, dispatcher: Dispatcher, request: Request) -> None:
        """Attempt record, request, outcome records: in this order, each acknowledged before the next."""
        leaves_by = self._clock.monotonic() + LEAVES_WITHIN_SECONDS
        if must_look_first(request.batch[0], self._provider.capabilities):
            seen_at = await self._seen_waiting(shard, dispatcher, request)
            if seen_at is None:
                return
            leaves_by = seen_at + LOOK_HOLDS_SECONDS
        generation = self._parts.generation()
        try:
            http_request = self._provider.terminate(self._account, self._selector(request.batch))
        except UnsafeRequest as error:
            logger.error("%s: a request is not sent: %s", self._account.name, error)
            dispatcher.answered(request.request_id, Answer(AnswerClass.NONE_TERMINABLE), self._clock.monotonic())
            dispatcher.folded(request.request_id)
            now = self._clock.now()
            await self._log(shard, [entries.closed(t, State.FAILED, now, str(error)) for t in request.batch])
            return
        await self._log(shard, entries.attempts(request, self._clock.now()))
        await self._departure(dispatcher)
        if generation != self._parts.generation() or not self._parts.worker.settled:
            answer, status = Answer(AnswerClass.NOT_SENT, "the account has moved to another worker"), None
        elif self._clock.monotonic() > leaves_by:  # we slept, or Kafka did
            answer, status = Answer(AnswerClass.NOT_SENT, "too long ago was it chosen, or seen waiting"), None
        else:
            started = self._clock.monotonic()
            answer, status = await self._sender.send(self._provider.understand, http_request)
            metrics.SECONDS.labels(self._account.name).observe(self._clock.monotonic() - started)
        await self._settle(shard, dispatcher, request, answer, status)

    async def _settle(
        self, shard: TerminateShard, dispatcher: Dispatcher, request: Request, answer: Answer, status: int | None
    ) -> None:
        """Learn from the answer, set aside what must be sent in smaller parts, and write the outcomes."""
        metrics.REQUESTS.labels(self._account.name, answer.answer).inc()
        metrics.IDS.labels(self._account.name).inc(len(request.batch))
        now = self._clock.now()
        retry_at = dispatcher.answered(request.request_id, answer, self._clock.monotonic()) + self._epoch()
        written: list[Record] = list(entries.results(request, answer, status, now, retry_at))
        if answer.answer in SPLIT:
            if len(request.batch) > 1:
                dispatcher.pinned.extend(bisected(request.termination_ids))
            elif not self._has_just_waited(shard, request.batch[0], answer):
                written.append(entries.refused_alone(request.batch[0], answer, now))
        self._tell(request, answer, status)
        await self._log(shard, written)

    def _has_just_waited(self, shard: TerminateShard, t: Termination, answer: Answer) -> bool:
        """Whether a call that is not found now was seen to wait: it has ended since, and another look says how."""
        known = shard.ledger.get(t.termination_id) or t
        waited = any(look.waiting for look in known.looks) and len(known.attempts) < MAX_SENDS
        return answer.answer is AnswerClass.NOT_FOUND and self._provider.capabilities.look_before_stop and waited

    async def _seen_waiting(self, shard: TerminateShard, dispatcher: Dispatcher, request: Request) -> float | None:
        """Read the state right before a stop that could cut a live call, or be done twice.

        Gives the moment at which it was asked for; None where the stop must not go.
        """
        await self._token(dispatcher)  # for the look; the stop has its own
        asked_at = self._clock.monotonic()
        answer, found = await self._look(dispatcher, request.batch[0])
        now = self._clock.now()
        if any(isinstance(record, Looked) and record.waiting for record in found):
            await self._log(shard, found)
            return asked_at
        retry_at = dispatcher.answered(request.request_id, answer, self._clock.monotonic()) + self._epoch()
        if found:
            await self._log(shard, found)
        else:  # nothing was learned: nothing is sent, and the look is tried again
            refused = Answer(AnswerClass.NOT_SENT, f"its state could not be read first: {answer.detail}")
            attempt = entries.attempts(request, now)
            await self._log(shard, [*attempt, *entries.results(request, refused, None, now, max(retry_at, now + 1.0))])
        dispatcher.folded(request.request_id)
        return None

    def _can_sweep(self, t: Termination) -> bool:
        return bool(t.campaign_id) and not t.scope and self._provider.capabilities.history

    def _start_look(self, shard: TerminateShard, dispatcher: Dispatcher, due: list[Termination]) -> None:
        """Look at the one that is due longest, or at many of one campaign through its history."""
        t = due[0]
        same = [one for one in due if one.campaign_id == t.campaign_id and not one.scope]
        if len(same) >= HISTORY_FROM and self._can_sweep(t):
            self._sweeping = True
            request = Request(f"sweep-{self._parts.new_id()}", tuple(same))
            self._start(dispatcher, request, self._sweep(shard, dispatcher, request, HistoryQuery(t.campaign_id)))
        else:
            request = Request(f"look-{self._parts.new_id()}", (t,))
            self._start(dispatcher, request, self._look_at(shard, dispatcher, request))

    async def _look_at(self, shard: TerminateShard, dispatcher: Dispatcher, request: Request) -> None:
        t = request.batch[0]
        answer, found = await self._look(dispatcher, t)
        self._looks_from = dispatcher.answered(request.request_id, answer, self._clock.monotonic())
        if t.scope is not None and self._provider.capabilities.by_id:
            found = looks.compared(t, found, shard.known_waiting(t))
        await self._log(shard, found)
        dispatcher.folded(request.request_id)

    async def _look(self, dispatcher: Dispatcher, t: Termination) -> tuple[Answer, list[Record]]:
        return await self._inspector.look(t, lambda: self._token(dispatcher))

    async def _sweep(
        self, shard: TerminateShard, dispatcher: Dispatcher, request: Request, query: HistoryQuery
    ) -> None:
        """Settle many unconfirmed terminations of one campaign from its history; the rest is looked at one by one.

        The calls may stand anywhere in a long history, so no more pages are read than half as many looks would cost.
        """
        open_calls = {t.call_id: t for t in request.batch}
        following: HistoryQuery | None = query
        answer = Answer(AnswerClass.ACCEPTED)
        pages = max(1, len(open_calls) // 2)
        try:
            while following is not None and open_calls and pages and not self._ending:
                page = await self._inspector.page(following)
                answer = page.answer
                if answer.answer is not AnswerClass.ACCEPTED:
                    break
                seen = [event for event in page.events if event.call_id in open_calls]
                await self._inspector.publish(seen)
                now = self._clock.now()
                settled = [(open_calls.pop(event.call_id, None), event) for event in seen]
                await self._log(shard, [r for t, event in settled if t for r in looks.records_of_event(t, event, now)])
                following, pages = page.following, pages - 1
                await self._token(dispatcher)
            self._looks_from = dispatcher.answered(request.request_id, answer, self._clock.monotonic())
            for t in open_calls.values() if answer.answer is AnswerClass.ACCEPTED else ():
                known = shard.ledger.get(t.termination_id)
                if known is None or known.state.over or self._ending:
                    continue
                _, found = await self._look(dispatcher, t)
                await self._log(shard, found)
                await self._token(dispatcher)
        finally:
            self._sweeping = False
            dispatcher.folded(request.request_id)

    async def _read_page(self, dispatcher: Dispatcher, request: Request, query: HistoryQuery) -> None:
        page = await self._inspector.page(query)
        self._looks_from = dispatcher.answered(request.request_id, page.answer, self._clock.monotonic())
        dispatcher.folded(request.request_id)
        if page.answer.answer is not AnswerClass.ACCEPTED:
            self._reconciler.failed()
            return
        news = self._reconciler.read(page)
        metrics.RECONCILED.labels(self._account.name).inc(len(news))
        await self._inspector.publish(news)

    async def _look_up(
        self, shard: TerminateShard, dispatcher: Dispatcher, request: Request, named: tuple[OrderRecord, str]
    ) -> None:
        look = await self._inspector.look_up(named[1])
        self._looks_from = dispatcher.answered(request.request_id, look.answer, self._clock.monotonic())
        await self._log(shard, looks.records_of_named(*named, look, self._clock.now()))
        dispatcher.folded(request.request_id)

    async def _departure(self, dispatcher: Dispatcher) -> None:
        """Wait until the request may leave: writing its attempts takes a varying time, and two may have come together."""
        while not dispatcher.try_depart(moment := self._clock.monotonic()):
            await asyncio.sleep(max(0.001, dispatcher.departure_at(moment) - moment))

    async def _token(self, dispatcher: Dispatcher) -> None:
        """Wait for the account's rate to allow one more request."""
        while not dispatcher.try_take(moment := self._clock.monotonic()):
            await asyncio.sleep(max(0.005, min(dispatcher.rate_at(moment) - moment, 1.0)))

    def _selector(self, batch: tuple[Termination, ...]) -> Selector:
        first = batch[0]
        if first.scope is not None:
            if len(batch) != 1:
                raise UnsafeRequest("a stop of a whole scope goes alone")
            whole = WholeScope.requests_for(first.scope, self._provider.capabilities)
            if len(whole) != 1:
                raise UnsafeRequest(f"a stop of {len(first.scope.mobile_numbers)} numbers is more than one request")
            return whole[0]
        return BatchOfCallIds.of((t.call_id for t in batch), self._provider.capabilities.batch_limit)

    async def _log(self, shard: TerminateShard, records: Sequence[Record]) -> None:
        await self._parts.producer.publish_all([shard.record(record) for record in records])

    def _tell(self, request: Request, answer: Answer, status: int | None) -> None:
        quiet = answer.answer in {AnswerClass.ACCEPTED, AnswerClass.NONE_TERMINABLE}
        logger.log(
            logging.INFO if quiet else logging.WARNING,
            "%s: request %s for %d calls: %s (HTTP %s) %s",
            self._account.name,
            request.request_id,
            len(request.batch),
            answer.answer,
            status,
            answer.detail,
        )
