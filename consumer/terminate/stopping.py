"""Stopping calls: gather, take the token, choose, write the attempts, send, write what came of it."""

import logging
from collections.abc import Sequence

from consumer.model.provider import Answer, BatchOfCallIds, Selector, UnsafeRequest, WholeScope
from consumer.model.terminations import AnswerClass, Looked, Record, State, Termination
from consumer.terminate import entries, metrics
from consumer.terminate.desk import Desk, Owned
from consumer.terminate.dispatcher import bisected
from consumer.terminate.entries import Request
from consumer.terminate.next_step import MAX_SENDS, must_look_first

logger = logging.getLogger(__name__)

LEAVES_WITHIN_SECONDS = 10.0
"""What has not left so long after it was chosen stays: with the time a request may take this is less than the time after
which another worker takes it for unanswered."""
LOOK_HOLDS_SECONDS = 3.0
"""So long after it was seen waiting a call may be asked for, where a stop would cut a live one."""
SETTLED_PAUSE_SECONDS = 0.01
SPLIT = {AnswerClass.POISON, AnswerClass.NOT_FOUND}


class Stopping:
    """The requests of one account that stop calls."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._account = desk.account
        self._provider = desk.provider

    async def start_one(self, owned: Owned, found: Sequence[Termination], now: float) -> float:
        """Make the next request of what was ``found`` to wait; gives how long to wait before looking again.

        The token is there; it is taken once something is left that still has to be stopped. Between the choice and the
        token nothing else happens.
        """
        chooser, dispatcher = owned.shard.chooser, owned.dispatcher
        if dispatcher.pinned:
            self._start(owned, chooser.still_wanted(dispatcher.next_pinned(), now))
            return 0.0
        if len(found) < dispatcher.batch_size:
            wait = chooser.gathered_at(self._account) - self._desk.clock.monotonic()
            if wait > 0:
                return wait
        choice = chooser.choose(self._account, now, dispatcher.batch_size, dispatcher.busy_ids, found)
        self._start(owned, choice.batch)
        await self._desk.log_and_learn(owned.shard, choice.settled)
        if choice.batch:
            return 0.0
        self._desk.parts.worker.wake()  # it saves what was settled, which is passed over until then
        return SETTLED_PAUSE_SECONDS

    def _start(self, owned: Owned, batch: tuple[Termination, ...]) -> None:
        if batch and owned.dispatcher.try_start(self._desk.clock.monotonic()):
            request = Request(self._desk.parts.new_id(), batch)
            self._desk.start(owned, request, self._request(owned, request))

    async def _request(self, owned: Owned, request: Request) -> None:
        """Attempt record, request, outcome records: in this order, each acknowledged before the next."""
        desk, parts = self._desk, self._desk.parts
        leaves_by = desk.clock.monotonic() + LEAVES_WITHIN_SECONDS
        if must_look_first(request.batch[0], self._provider.capabilities):
            seen_at = await self._seen_waiting(owned, request)
            if seen_at is None:
                return
            leaves_by = seen_at + LOOK_HOLDS_SECONDS
        generation = parts.generation()
        try:
            http_request = self._provider.terminate(self._account, self._selector(request.batch))
        except UnsafeRequest as error:
            await self._refuse(owned, request, str(error))
            return
        await desk.log_and_learn(owned.shard, entries.attempts(request, desk.clock.now()))
        await desk.departure(owned.dispatcher, request, leaves_by)
        if generation != parts.generation() or not parts.worker.settled:
            await self._stays(owned, request, "the account has moved to another worker")
        elif desk.ending:
            await self._stays(owned, request, "the worker was told to leave")
        elif desk.clock.monotonic() > leaves_by:  # we slept, Kafka did, or the provider wants nothing now
            await self._stays(owned, request, "too long ago was it chosen, or seen waiting")
        elif len(owned.shard.chooser.still_wanted(request.termination_ids, desk.clock.now())) < len(request.batch):
            await self._stays(owned, request, "not all of it is wanted any more")
        else:
            started = desk.clock.monotonic()
            answer, status = await desk.sender.send(self._provider.understand, http_request)
            metrics.SECONDS.labels(self._account.name).observe(desk.clock.monotonic() - started)
            await self._settle(owned, request, answer, status)

    async def _stays(self, owned: Owned, request: Request, why: str) -> None:
        """Write down that a request did not leave, so that its calls go into another."""
        owned.dispatcher.stayed(request.request_id)
        answer, now = Answer(AnswerClass.NOT_SENT, why), self._desk.clock.now()
        metrics.REQUESTS.labels(self._account.name, answer.answer).inc()
        self._tell(request, answer, None)
        await self._desk.log_and_learn(owned.shard, entries.results(request, answer, None, now, now))

    async def _refuse(self, owned: Owned, request: Request, why: str) -> None:
        """Close what must not be sent."""
        logger.error("%s: a request is not sent: %s", self._account.name, why)
        refused = Answer(AnswerClass.NONE_TERMINABLE)
        owned.dispatcher.answered(request.request_id, refused, self._desk.clock.monotonic())
        now = self._desk.clock.now()
        await self._desk.log_and_learn(owned.shard, [entries.closed(t, State.FAILED, now, why) for t in request.batch])
        owned.dispatcher.folded(request.request_id)

    async def _settle(self, owned: Owned, request: Request, answer: Answer, status: int | None) -> None:
        """Learn from the answer, set aside what must be sent in smaller parts, and write the outcomes."""
        answer = owned.dispatcher.understood(answer, len(request.batch))
        metrics.REQUESTS.labels(self._account.name, answer.answer).inc()
        metrics.IDS.labels(self._account.name).inc(len(request.batch))
        now = self._desk.clock.now()
        moment = self._desk.clock.monotonic()
        retry_at = owned.dispatcher.answered(request.request_id, answer, moment) + self._desk.epoch()
        written: list[Record] = list(entries.results(request, answer, status, now, retry_at))
        if answer.answer in SPLIT:
            if len(request.batch) > 1:
                owned.dispatcher.pinned.extend(bisected(request.termination_ids))
            elif not self._has_just_waited(owned, request.batch[0], answer):
                written.append(entries.refused_alone(request.batch[0], answer, now))
        self._tell(request, answer, status)
        if all(map(owned.shard.chooser.only_rules_want, request.batch)):
            owned.shard.trust(self._account.name).answered(answer.answer, moment)
        await self._desk.log_and_learn(owned.shard, written)

    def _has_just_waited(self, owned: Owned, t: Termination, answer: Answer) -> bool:
        """Whether a call that is not found now was seen to wait: it has ended since, and another look says how."""
        if answer.answer is not AnswerClass.NOT_FOUND or not self._provider.capabilities.look_before_stop:
            return False
        known = owned.shard.ledger.get(t.termination_id) if self._desk.holds(owned.shard) else None
        known = known or t
        return any(look.waiting for look in known.looks) and len(known.attempts) < MAX_SENDS

    async def _seen_waiting(self, owned: Owned, request: Request) -> float | None:
        """Read the state right before a stop that could cut a live call, or be done twice.

        Gives the moment at which it was asked for; None where the stop must not go.
        """
        desk, dispatcher = self._desk, owned.dispatcher
        await desk.token(dispatcher)  # for the look; the stop has its own
        asked_at = desk.clock.monotonic()
        answer, found = await desk.look(dispatcher, request.batch[0])
        now = desk.clock.now()
        if any(isinstance(record, Looked) and record.waiting for record in found):
            await desk.log(owned.shard, found)
            return asked_at
        retry_at = dispatcher.answered(request.request_id, answer, desk.clock.monotonic()) + desk.epoch()
        if found:
            await desk.log_and_learn(owned.shard, found)
        else:  # nothing was learned: nothing is sent, and the look is tried again
            refused = Answer(AnswerClass.NOT_SENT, f"its state could not be read first: {answer.detail}")
            results = entries.results(request, refused, None, now, max(retry_at, now + 1.0))
            await desk.log_and_learn(owned.shard, [*entries.attempts(request, now), *results])
        dispatcher.folded(request.request_id)
        return None

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

    def _tell(self, request: Request, answer: Answer, status: int | None) -> None:
        quiet = answer.answer in {AnswerClass.ACCEPTED, AnswerClass.NONE_TERMINABLE}
        size, http = len(request.batch), f" (HTTP {status})" if status else ""
        logger.log(
            logging.INFO if quiet else logging.WARNING,
            "%s: request %s for %d call%s: %s%s%s",
            self._account.name,
            request.request_id,
            size,
            "" if size == 1 else "s",
            answer.answer,
            http,
            f", {answer.detail}" if answer.detail else "",
        )
