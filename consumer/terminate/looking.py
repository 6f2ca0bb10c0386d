"""What an account does while there is nothing to stop: look at what is unconfirmed, and read the call history."""

from consumer.model.orders import OrderRecord
from consumer.model.provider import Answer, HistoryQuery
from consumer.model.terminations import AnswerClass, Record, Termination
from consumer.terminate import looks, metrics
from consumer.terminate.breaker import Endpoint
from consumer.terminate.desk import Desk, Owned
from consumer.terminate.dispatcher import Dispatcher
from consumer.terminate.entries import Request
from consumer.terminate.reconcile import Reconciler, queries_for

LOOKS_AT_ONCE = 500
HISTORY_FROM = 5
"""So many looks due in one campaign, and a page of its history costs less than looking at each."""


class Looking:
    """The looks of one account, each with a token of its rate."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._provider = desk.provider
        self._reconciler = Reconciler(desk.account.reconcile.every)
        self._from = dict.fromkeys(Endpoint, 0.0)
        self._sweeping = False

    def start_one(self, owned: Owned, now: float) -> float:
        """Look at what is unconfirmed, else read a page of the history; gives how long to wait before looking again."""
        dispatcher = owned.dispatcher
        moment, idle = self._desk.clock.monotonic(), self._desk.parts.idle_seconds
        busy = dispatcher.busy_ids
        due = [
            t
            for t in owned.shard.ledger.to_look(self._desk.name, now, LOOKS_AT_ONCE + len(busy))
            if t.termination_id not in busy
        ]
        if due and self._sweeping and self._can_sweep(due[0]):
            return idle  # one sweep at a time: what is due by then goes into the next
        if due and self._start_look(owned, due, moment):
            return 0.0
        if due and self._may(dispatcher, moment, Endpoint.LOOK):
            return idle  # only the rate is in their way
        if self._provider.capabilities.history and self._may(dispatcher, moment, Endpoint.HISTORY):
            orders = owned.shard.orders_to_sweep_for(self._desk.name, now)
            page = self._reconciler.next_page(queries_for(orders), moment)
            if page is not None:
                if not dispatcher.try_start(moment, Endpoint.HISTORY):
                    self._reconciler.postponed()
                    return idle
                request = Request(f"page-{self._desk.parts.new_id()}", ())
                self._desk.start(owned, request, self._read_page(dispatcher, request, page), Endpoint.HISTORY)
                return 0.0
        return self._look_up_named(owned, now)

    def _look_up_named(self, owned: Owned, now: float) -> float:
        """Look up a call that an order names by id and about which nothing was decided."""
        idle = self._desk.parts.idle_seconds
        moment = self._desk.clock.monotonic()
        if not (self._provider.capabilities.look_up and self._may(owned.dispatcher, moment, Endpoint.LOOK)):
            return idle
        orders = owned.shard.orders_naming_calls(self._desk.name, now)
        named = self._reconciler.next_named(orders, owned.shard.is_decided, now)
        if named is None:
            return idle
        if not owned.dispatcher.try_start(moment, Endpoint.LOOK):
            self._reconciler.named_later(*named)
            return idle
        request = Request(f"look-{self._desk.parts.new_id()}", ())
        self._desk.start(owned, request, self._look_up(owned, request, named), Endpoint.LOOK)
        return 0.0

    def _can_sweep(self, t: Termination) -> bool:
        return bool(t.campaign_id) and not t.scope and self._provider.capabilities.history

    def _start_look(self, owned: Owned, due: list[Termination], moment: float) -> bool:
        """Look at the one that is due longest, or at many of one campaign through its history; says whether it may."""
        t, dispatcher = due[0], owned.dispatcher
        same = [one for one in due if one.campaign_id == t.campaign_id and not one.scope]
        if len(same) >= HISTORY_FROM and self._can_sweep(t) and self._may(dispatcher, moment, Endpoint.HISTORY):
            if not dispatcher.try_start(moment, Endpoint.HISTORY):
                return False
            self._sweeping = True
            request = Request(f"sweep-{self._desk.parts.new_id()}", tuple(same))
            work = self._sweep(owned, request, HistoryQuery(t.campaign_id))
            self._desk.start(owned, request, work, Endpoint.HISTORY)
            return True
        if not (self._may(dispatcher, moment, Endpoint.LOOK) and dispatcher.try_start(moment, Endpoint.LOOK)):
            return False
        request = Request(f"look-{self._desk.parts.new_id()}", (t,))
        self._desk.start(owned, request, self._look_at(owned, request), Endpoint.LOOK)
        return True

    async def _look_at(self, owned: Owned, request: Request) -> None:
        t = request.batch[0]
        answer, found = await self._desk.look(owned.dispatcher, t)
        self._note(owned.dispatcher, request, answer, Endpoint.LOOK)
        if t.scope is not None and self._provider.capabilities.by_id and self._desk.holds(owned.shard):
            found = looks.compared(t, found, owned.shard.known_waiting(t))
        await self._desk.log_and_learn(owned.shard, found)
        owned.dispatcher.folded(request.request_id)

    async def _sweep(self, owned: Owned, request: Request, query: HistoryQuery) -> None:
        """Settle many unconfirmed terminations of one campaign from its history; the rest is looked at one by one.

        The calls may stand anywhere in a long history, so no more pages are read than half as many looks would cost.
        """
        desk, dispatcher = self._desk, owned.dispatcher
        open_calls = {t.call_id: t for t in request.batch}
        following: HistoryQuery | None = query
        answer = Answer(AnswerClass.ACCEPTED)
        pages = max(1, len(open_calls) // 2)
        try:
            while following is not None and open_calls and pages and not desk.ending:
                page = await desk.inspector.page(following)
                answer = page.answer
                if answer.answer is not AnswerClass.ACCEPTED:
                    break
                seen = [event for event in page.events if event.call_id in open_calls]
                await desk.inspector.publish(seen)
                now = desk.clock.now()
                settled = [(open_calls.pop(event.call_id, None), event) for event in seen]
                records: list[Record] = []
                for t, event in settled:
                    records += looks.records_of_event(t, event, now) if t else []
                await desk.log_and_learn(owned.shard, records)
                following, pages = page.following, pages - 1
                await desk.token(dispatcher)
            self._note(dispatcher, request, answer, Endpoint.HISTORY)
            if answer.answer is AnswerClass.ACCEPTED:
                await self._look_at_each(owned, list(open_calls.values()))
        finally:
            self._sweeping = False
            dispatcher.folded(request.request_id)

    async def _look_at_each(self, owned: Owned, left: list[Termination]) -> None:
        for t in left:
            if self._desk.ending or not self._desk.holds(owned.shard):
                return
            known = owned.shard.ledger.get(t.termination_id)
            if known is None or known.state.over:
                continue
            _, found = await self._desk.look(owned.dispatcher, t)
            await self._desk.log_and_learn(owned.shard, found)
            await self._desk.token(owned.dispatcher)

    async def _read_page(self, dispatcher: Dispatcher, request: Request, query: HistoryQuery) -> None:
        page = await self._desk.inspector.page(query)
        self._note(dispatcher, request, page.answer, Endpoint.HISTORY)
        dispatcher.folded(request.request_id)
        if page.answer.answer is not AnswerClass.ACCEPTED:
            self._reconciler.failed()
            return
        news = self._reconciler.read(page)
        metrics.RECONCILED.labels(self._desk.name).inc(len(news))
        await self._desk.inspector.publish(news)

    async def _look_up(self, owned: Owned, request: Request, named: tuple[OrderRecord, str]) -> None:
        look = await self._desk.inspector.look_up(named[1])
        self._note(owned.dispatcher, request, look.answer, Endpoint.LOOK)
        await self._desk.log_and_learn(owned.shard, looks.records_of_named(*named, look, self._desk.clock.now()))
        owned.dispatcher.folded(request.request_id)

    def _may(self, dispatcher: Dispatcher, moment: float, endpoint: Endpoint) -> bool:
        """Whether nothing but the rate and what is in flight is in the way."""
        return moment >= self._from[endpoint] and dispatcher.is_open(moment, endpoint)

    def _note(self, dispatcher: Dispatcher, request: Request, answer: Answer, endpoint: Endpoint) -> None:
        self._from[endpoint] = dispatcher.answered(request.request_id, answer, self._desk.clock.monotonic())
