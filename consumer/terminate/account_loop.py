"""The sending side of one account: one loop, one rate, one connection pool.

What there is to do, in this order: requests that stop calls; looks at calls whose stop nothing has confirmed; a page of
the call history. Every one of them takes a token of the account's rate limit first.
"""

import asyncio
from dataclasses import dataclass, replace

from consumer.model.accounts import Account
from consumer.model.provider import Provider
from consumer.terminate.alarms import Alarms
from consumer.terminate.breaker import Endpoint
from consumer.terminate.desk import Desk, LoopParts, Owned
from consumer.terminate.dispatcher import Dispatcher, Health
from consumer.terminate.looking import Looking
from consumer.terminate.shard import TerminateShard
from consumer.terminate.stopping import Stopping

__all__ = ["AccountHealth", "AccountLoop", "LoopParts"]

GRACE_SECONDS = 18.0
"""For a request that has just left, and for what has to be written of it."""
LOOK_FURTHER_SECONDS = 0.05
STEP_SECONDS = 0.005
"""What is folded or saved in one go takes about as long."""


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """How the sending of one account goes."""

    backlog: int
    health: Health


class AccountLoop:
    """Sends for one account while this worker holds its partition."""

    def __init__(self, account: Account, provider: Provider, parts: LoopParts) -> None:
        self._account = account
        self._provider = provider
        self._parts = parts
        self._clock = parts.clock
        self._wake = asyncio.Event()
        self._owned: Owned | None = None
        self._lost_at = float("-inf")
        self._desk = Desk(account, provider, parts, self.wake)
        self._stopping = Stopping(self._desk)
        self._looking = Looking(self._desk)
        self._alarms = Alarms(self._desk)

    def wake(self) -> None:
        """Look at the backlog now."""
        self._wake.set()

    def health(self) -> AccountHealth | None:
        """How the sending goes; None where another worker owns the account."""
        owned = self._own()
        if owned is None:
            return None
        health = owned.dispatcher.health(self._clock.monotonic())
        if health.last_success_at is not None:
            health = replace(health, last_success_at=health.last_success_at + self._desk.epoch())
        return AccountHealth(owned.shard.ledger.backlog(self._account.name), health)

    def is_late(self) -> bool:
        """Whether a request is being prepared that the rate lets go by now, or before a step that begins now is over."""
        return self._owned is not None and self._owned.dispatcher.is_late(self._clock.monotonic() + STEP_SECONDS)

    async def run(self) -> None:
        """Work until cancelled; what is in flight then is finished within a grace period."""
        try:
            while True:
                await self._sleep(await self._step())
        finally:
            await self._desk.close(GRACE_SECONDS)

    def _own(self) -> Owned | None:
        """The shard and dispatcher, if the account's partition is ours and read up to its end."""
        if not self._parts.worker.settled:
            return None  # partitions are moving; what is in flight is kept in mind
        partition = self._parts.topics.partition_of_account(self._account.name)
        shard = self._parts.worker.shards.get(partition)
        if not isinstance(shard, TerminateShard) or not shard.caught_up:
            if self._owned is not None:
                self._alarms.gone()
                self._lost_at = self._clock.monotonic()
            self._owned = None
        elif self._owned is None or self._owned.shard is not shard:
            self._owned = Owned(shard, self._new_dispatcher(shard))
        return self._owned

    def _new_dispatcher(self, shard: TerminateShard) -> Dispatcher:
        """Begin with nothing to send by, from when the account came to us: since then nobody else has sent for it."""
        limit, moment = max(1, self._provider.capabilities.batch_limit), self._clock.monotonic()
        dispatcher = Dispatcher(self._account, now=max(shard.opened_at, self._lost_at), batch_limit=limit)
        shard.standing(self._account.name).hand_over(dispatcher, self._clock.now(), moment)
        return dispatcher

    async def _sleep(self, seconds: float) -> None:
        """Wait until there may be something to do; other accounts get their turn in any case."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
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
        shard, dispatcher = owned.shard, owned.dispatcher
        for request_id in shard.newly_answered(self._account.name):
            dispatcher.folded(request_id)
        await self._alarms.look(owned)
        moment, now = self._clock.monotonic(), self._clock.now()
        ready_at = dispatcher.next_at(moment)
        if ready_at > moment:
            if dispatcher.is_open(moment, Endpoint.STOP):
                return min(ready_at - moment, self._parts.idle_seconds)
            return min(ready_at - moment, self._looking.start_one(owned, now))
        if (wait := self._gathers(owned, moment)) > 0:
            return min(wait, self._parts.idle_seconds)
        found = shard.chooser.to_send(self._account.name, now, dispatcher.batch_size, dispatcher.busy_ids)
        if found or dispatcher.pinned:
            return await self._stopping.start_one(owned, found, now)
        shard.chooser.emptied(self._account.name)
        if shard.chooser.is_looking_further(self._account.name):
            return LOOK_FURTHER_SECONDS
        return self._looking.start_one(owned, now)

    def _gathers(self, owned: Owned, moment: float) -> float:
        """How long too few wait to fill a batch that is still gathered; what is folded meanwhile wakes us."""
        dispatcher, shard = owned.dispatcher, owned.shard
        if dispatcher.pinned or not 0 < shard.ledger.backlog(self._account.name) < dispatcher.batch_size:
            return 0.0
        return shard.chooser.gathered_at(self._account) - moment
