"""The terminate role: one loop per account, sending for those whose partition this worker holds."""

import asyncio
from collections.abc import Mapping

from consumer.model.accounts import Account
from consumer.model.provider import Provider
from consumer.terminate.account_loop import AccountHealth, AccountLoop, LoopParts


class TerminateRole:
    """The loops of all configured accounts."""

    def __init__(
        self,
        *,
        parts: LoopParts,
        accounts: Mapping[str, Account],
        providers: Mapping[str, Provider],
    ) -> None:
        self._loops = {
            account.name: AccountLoop(account, providers[account.provider], parts) for account in accounts.values()
        }
        self._running: set[asyncio.Task[None]] = set()
        parts.worker.give_way(self._is_late)

    def _is_late(self) -> bool:
        """Whether a request is being prepared that could leave by now."""
        return any(loop.is_late() for loop in self._loops.values())

    def wake(self) -> None:
        """Look at every account's backlog now."""
        for loop in self._loops.values():
            loop.wake()

    def health(self, account: str) -> AccountHealth | None:
        """How the sending of an account goes; None where another worker owns it."""
        return self._loops[account].health()

    def healths(self) -> dict[str, AccountHealth]:
        """How the sending goes, of each account that this worker owns."""
        found = {account: loop.health() for account, loop in self._loops.items()}
        return {account: health for account, health in found.items() if health}

    async def run(self) -> None:
        """Send until cancelled or told to ``leave``; what is in flight then is finished within a grace period."""
        async with asyncio.TaskGroup() as group:
            self._running = {group.create_task(loop.run(), name=f"terminate {n}") for n, loop in self._loops.items()}

    async def leave(self) -> None:
        """Begin no further request, and wait until those that are in flight are answered and written down."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
