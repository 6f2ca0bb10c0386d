"""Asking a provider how calls and scopes stand. What it says of a call becomes a call event like any webhook."""

from collections.abc import Awaitable, Callable, Sequence

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.codec import encode_event
from consumer.model.events import CallEvent
from consumer.model.identity import call_key
from consumer.model.provider import Answer, HistoryPage, HistoryQuery, Look, Provider, WholeScope
from consumer.model.status import TERMINABLE
from consumer.model.terminations import AnswerClass, Record, Termination
from consumer.terminate import looks
from consumer.terminate.sender import Sender


class Inspector:
    """The reading side of one account. Tokens of its rate limit are the caller's matter."""

    def __init__(
        self,
        account: Account,
        provider: Provider,
        sender: Sender,
        producer: Producer,
        topics: Topics,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._account = account
        self._provider = provider
        self._sender = sender
        self._producer = producer
        self._topics = topics
        self._clock = clock

    async def look(self, t: Termination, token: Callable[[], Awaitable[None]]) -> tuple[Answer, list[Record]]:
        """Ask the provider how a call or a scope stands; what it says of a call also becomes a call event.

        The first request has its token; ``token`` waits for that of each further one.
        """
        if t.scope is None:
            look = await self._sender.ask(
                self._provider.look_up(self._account, t.call_id),
                lambda response: self._provider.read_look_up(self._account, t.call_id, response),
            )
            if isinstance(look, Answer):
                return look, []
            if look.event:
                await self.publish([look.event])
            return look.answer, looks.records_of_look(t, look, self._clock.now())
        if self._provider.capabilities.scope_state:
            whole = WholeScope(t.scope)
            state = await self._sender.ask(
                self._provider.scope_state(self._account, whole),
                lambda response: self._provider.read_scope_state(self._account, whole, response),
            )
            if isinstance(state, Answer):
                return state, []
            return state.answer, looks.records_of_scope_state(t, state, self._clock.now())
        return await self._look_by_history(t, token)

    async def _look_by_history(
        self, t: Termination, token: Callable[[], Awaitable[None]]
    ) -> tuple[Answer, list[Record]]:
        """Ask which calls of a scope still wait."""
        assert t.scope is not None
        waiting: list[CallEvent] = []
        pages = 0
        for status in sorted(TERMINABLE):
            query: HistoryQuery | None = HistoryQuery(
                campaign_id=t.scope.campaign_id, agent_id=t.scope.agent_id, statuses=(status,)
            )
            while query is not None:
                if pages:
                    await token()
                pages += 1
                page = await self.page(query)
                if page.answer.answer is not AnswerClass.ACCEPTED:
                    return page.answer, []
                waiting += page.events
                query = page.following
        await self.publish([event for event in waiting if looks.covered(t.scope, event)])
        return Answer(AnswerClass.ACCEPTED), looks.records_of_scope_history(t, waiting, self._clock.now())

    async def look_up(self, call_id: str) -> Look:
        """Look up a call that nothing was decided about, and make it known."""
        look = await self._sender.ask(
            self._provider.look_up(self._account, call_id),
            lambda response: self._provider.read_look_up(self._account, call_id, response),
        )
        if isinstance(look, Answer):
            return Look(look)
        if look.event:
            await self.publish([look.event])
        return look

    async def page(self, query: HistoryQuery) -> HistoryPage:
        """Read one page of the history."""
        page = await self._sender.ask(
            self._provider.history(self._account, query),
            lambda response: self._provider.read_history(self._account, query, response),
        )
        return HistoryPage(page) if isinstance(page, Answer) else page

    async def publish(self, events: Sequence[CallEvent]) -> None:
        """Write what was seen to ``call-events``."""
        topic = self._topics.call_events
        records = []
        for event in events:
            key = call_key(event.account, event.call_id)
            records.append(OutRecord(topic.name, topic.partition_of(key), key, encode_event(event)))
        await self._producer.publish_all(records)
