"""An event loop on virtual time that several simulated processes share, each of which can be frozen or killed.

What is ready runs in a seeded order: any process may be next, and within one process now and then not the first. When
nothing is ready the clock jumps to the next timer. A callback belongs to the process in whose context it was scheduled.
"""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

MAX_STEPS = 400_000
"""More callbacks than that in one world, and something spins."""


class Crashed(BaseException):
    """The process has died right here; nothing of it runs any more."""


class Livelock(Exception):
    """The world spins without getting anywhere."""


_OWNER: ContextVar["Process"] = ContextVar("owner")


class Callback:
    """What asyncio calls a handle, without what nobody here asks of one."""

    __slots__ = ("_args", "_callback", "context", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self._callback = callback
        self._args = args
        self.context = context or copy_context()
        self.is_cancelled = False

    def run(self) -> None:
        if not self.is_cancelled:
            self.context.run(self._callback, *self._args)

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled


class Process:
    """One life of a process: what of it is ready to run, and whether it may."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Callback] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.alive = True
        self.frozen = False
        self.queued = False
        self.context = Context()
        self.context.run(_OWNER.set, self)

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen


def running_process() -> Process:
    """The process that is running now."""
    return _OWNER.get()


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs the callbacks of all processes. ``disorder`` is how often one overtakes others of its own process."""

    def __init__(self, random: Random, *, disorder: float = 0.0) -> None:
        self.world = Process("world")
        self.steps = 0
        self.over = False
        self.complaints: list[tuple[Process, str]] = []
        self._random = random.random
        self._disorder = disorder
        self._now = 0.0
        self._timers: list[tuple[float, int, Callback]] = []
        self._scheduled = 0
        self._runnable: list[Process] = []

    def run(self, seconds: float) -> None:
        """Let the world go on for ``seconds``.

        Raises:
            Livelock: it spins without getting anywhere.

        """
        end = self._now + seconds
        events._set_running_loop(self)
        try:
            while True:
                if self._runnable:
                    self._step()
                elif not self._jump(end):
                    return
        finally:
            events._set_running_loop(None)

    def spawn(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that belongs to ``process``, as will everything it starts."""
        return self.create_task(work, context=process.context)

    def after(self, delay: float, process: Process, callback: Callable[..., object], *args: Any) -> Callback:
        """Let something happen in ``process``, or in the world around all of them, after ``delay`` seconds."""
        return self.call_at(self._now + delay, callback, *args, context=process.context)

    def kill(self, process: Process) -> None:
        """Let nothing of it run any more. What it would have done is kept until ``bury``, so that no finaliser runs now."""
        process.alive = False

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        process.frozen = False
        self._queue(process)

    def bury(self, processes: list[Process]) -> None:
        """End all tasks there still are, once the world is over, so that nothing is left for the garbage collector."""
        self.over = True
        tasks = [task for process in (*processes, self.world) for task in process.tasks if not task.done()]
        for process in processes:
            process.alive = True
            self.thaw(process)
        events._set_running_loop(self)
        try:
            for _ in range(3):
                for task in tasks:
                    task.cancel()
                while self._runnable:
                    self._step()
            while self._timers and not all(task.done() for task in tasks) and self._jump(float("inf")):
                while self._runnable:
                    self._step()
        finally:
            events._set_running_loop(None)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()

    def _step(self) -> None:
        """Run one callback of any process that has one ready."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Livelock(f"{self.steps} callbacks, and the world is at {self._now:.3f} s")
        runnable = self._runnable
        n = int(self._random() * len(runnable)) if len(runnable) > 1 else 0
        process = runnable[n]
        ready = process.ready
        if ready and process.alive and not process.frozen:
            if self._disorder and len(ready) > 1 and self._random() < self._disorder:
                ready.rotate(-int(self._random() * len(ready)))
            ready.popleft().run()
        if not (ready and process.alive and not process.frozen):
            process.queued = False
            runnable[n] = runnable[-1]
            runnable.pop()

    def _jump(self, end: float) -> bool:
        """Go to the next timer that is not later than ``end``, and make ready what is due then."""
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heappop(timers)
        if not timers or timers[0][0] > end:
            self._now = max(self._now, end) if end < float("inf") else self._now
            return False
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            handle = heappop(timers)[2]
            if not handle.is_cancelled:
                self._make_ready(handle)
        return True

    def _make_ready(self, handle: Callback) -> None:
        process = handle.context.get(_OWNER, self.world)
        process.ready.append(handle)
        if not process.queued:
            self._queue(process)

    def _queue(self, process: Process) -> None:
        if not process.queued and process.runs:
            process.queued = True
            self._runnable.append(process)

    # what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Callback:
        handle = Callback(callback, args, context)
        self._make_ready(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Callback:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Callback:
        handle = Callback(callback, args, context)
        self._scheduled += 1
        heappush(self._timers, (when, self._scheduled, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # every task here has a plain coroutine
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        owner = context.get(_OWNER) if context else _OWNER.get(None)
        (owner or self.world).tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        owner = _OWNER.get(self.world)
        self.complaints.append((owner, f"{context.get('message')}: {context.get('exception')!r}"))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
