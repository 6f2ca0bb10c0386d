"""What a process runs: tasks that end only with it, what readiness asks, routes, and what is closed in the end.

Roles add to it as they start, in order; what they opened is closed in the opposite order. A task that dies takes the process
down loudly; what it had not finished is in the log and goes on with the next start.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from aiohttp import web

from consumer.kafka.progress import Progress
from consumer.kafka.watch import Watch, Watched
from consumer.service.health import Check, Readiness, Verdict

LOOK_EVERY_SECONDS = 0.02


class Host:
    """``stack`` holds what is closed in the end, ``routes`` what is served; ``url`` is where other processes reach us.

    ``ready_regardless`` says whether we are to be sent webhooks whatever the checks say.
    """

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.routes: list[web.RouteDef] = []
        self.url: str | None = None
        self.ready_regardless: Callable[[], bool] = lambda: False
        self._tasks: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._checks: list[Check] = []
        self._watches: list[Watch] = []
        self._when_reachable: list[Callable[[], None]] = []
        self._when_leaving: list[Callable[[], Awaitable[None]]] = []
        self._ending = asyncio.Event()

    def add_task(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append((name, work))

    def add_check(self, name: str, holds: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
        """Add to what must be true for the process to be ready; ``otherwise`` says what is wrong."""
        self._checks.append(Check(name, holds, otherwise))

    def watch(self, name: str, watched: Watched, ready: Callable[[], bool], otherwise: str) -> None:
        """Have a reading watched: readiness says how far it is and whether it stands still, which ends the process."""
        watch = Watch(name, watched)
        self._watches.append(watch)
        self.add_task(f"{name} watch", watch.run)
        self.add_check(name, lambda: ready() and not watch.trouble, watch.reason(otherwise))

    def when_reachable(self, then: Callable[[], None]) -> None:
        """Have something done as soon as others can reach us: whoever learns of us from the group finds us listening."""
        self._when_reachable.append(then)

    def when_leaving(self, then: Callable[[], Awaitable[None]]) -> None:
        """Have what is on its way finished, before any task is ended, and beside whatever else is being finished."""
        self._when_leaving.append(then)

    def reachable(self, url: str | None) -> None:
        """Say that HTTP is served, under ``url`` if others may ask there."""
        self.url = url
        for then in self._when_reachable:
            then()

    async def run(self) -> None:
        """Work until ``end`` or cancelled; the first task that fails ends all of them and is raised.

        After ``end``, what is on its way is finished while every task still works: side by side, since each takes seconds.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_named(name, work()), name=name) for name, work in self._tasks]
            await self._ending.wait()
            async with asyncio.TaskGroup() as leaving:
                for then in self._when_leaving:
                    leaving.create_task(_named("leaving", then()))
            for task in tasks:
                task.cancel()

    def end(self) -> None:
        """Let ``run`` return."""
        self._ending.set()

    @property
    def readiness(self) -> Readiness:
        """All that has been added to it so far."""
        return Readiness(tuple(self._checks), self.ready_regardless)

    def verdicts(self) -> list[Verdict]:
        return [check.passes() for check in self._checks]

    async def ready(self) -> None:
        """Wait until every check is passed; ``run`` must be under way."""
        while not all(verdict.ok for verdict in self.verdicts()):
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def reading_back(self) -> list[Progress]:
        """How far each reading is that has not caught up yet; what stands still is readiness's to tell."""
        return [watch.progress for watch in self._watches if watch.progress and not watch.trouble]


async def _named(name: str, task: Awaitable[None]) -> None:
    try:
        await task
    except Exception as error:
        error.add_note(f"this ended the task {name!r}")
        raise
