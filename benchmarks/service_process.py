"""The service as ``callbreaker correlate`` runs it, with a look at it from inside: when it was ready, how it fares.

Nothing of it is replaced. Two constructors note what they make, so that the worker can be asked and it is known when the
first view was opened.
"""

import asyncio
import cProfile
import pstats
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import uvloop

from benchmarks.children import job_of_this_process, questions, say
from benchmarks.marks import Mark, between, mark
from benchmarks.ticker import Ticker
from benchmarks.world import ACCOUNT_NAME, CAMPAIGN_FIELD, SECRET
from consumer.correlate.shard import CorrelateShard
from consumer.kafka.view import View
from consumer.kafka.worker import FoldingWorker
from consumer.service.service import Role, Service
from consumer.settings import Settings


def settings_of(job: dict[str, Any]) -> Settings:
    """The account of the benchmarks and the opt-out rule, on the broker of the stage."""
    webhook = {"auth": {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}, "fields": CAMPAIGN_FIELD}
    kafka = {"bootstrap_servers": job["servers"], "topic_prefix": job["prefix"], "replication_factor": 1}
    return Settings.model_validate(
        {
            "accounts": {ACCOUNT_NAME: {"provider": "ringg", "api_key": "unused", "webhook": webhook}},
            "rules": [{"name": "opt-out", "handler": "handlers.rules.opt_out:opt_out", "mode": "enforce"}],
            "kafka": {**kafka, "partitions": job["partitions"]},
            "http": {"port": 0},
            "data_dir": job["folder"],
        }
    )


class Watched:
    """What was noted of the service: its one worker, and when it opened its first view (``time.perf_counter``)."""

    def __init__(self) -> None:
        self.workers: list[FoldingWorker] = []
        self.opened: list[float] = []
        _note(FoldingWorker, self.workers.append)
        _note(View, lambda _: self.opened.append(time.perf_counter()))

    @property
    def worker(self) -> FoldingWorker:
        (worker,) = self.workers
        return worker

    @property
    def folded(self) -> int:
        """How many events are folded and saved; the topics of a benchmark begin at offset 0."""
        return sum(status.position for status in self.worker.status())

    @property
    def calls(self) -> int:
        """How many calls are known."""
        shards = self.worker.shards.values()
        return sum(shard.calls.count()[0] for shard in shards if isinstance(shard, CorrelateShard))


def _note(kind: type[Any], seen: Callable[[Any], object]) -> None:
    original = kind.__init__

    def noted(self: Any, *args: Any, **options: Any) -> None:
        seen(self)
        original(self, *args, **options)

    kind.__init__ = noted


async def through(job: dict[str, Any], watched: Watched, service: Service) -> None:
    """Fold ``job["events"]`` events: from the first batch saved until the last is committed and everything caught up."""
    marks: list[Mark] = []
    finished = asyncio.Event()

    def folded() -> None:
        marks.append(mark(watched.folded))
        if marks[-1].events >= job["events"]:
            finished.set()

    watched.worker.on_folded(folded)
    running = asyncio.create_task(service.run())
    profile = cProfile.Profile() if job["profile"] else None
    if profile:
        profile.enable()
    await _unless_ended(running, finished.wait())
    if profile:
        profile.disable()
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(job["profile"])
    await _unless_ended(running, service.ready())
    await watched.worker.drain()
    last = mark(watched.folded)
    say({**between(marks[0], last), "batches": len(marks), "calls": watched.calls})
    await _left(service, running)


async def serving(job: dict[str, Any], watched: Watched, service: Service) -> None:
    """Tell when it was ready, then how it fares whenever the parent asks."""
    running = asyncio.create_task(service.run())
    await _unless_ended(running, service.ready())
    now = time.perf_counter()
    say({"from_start": now - job["began"], "from_opening": now - watched.opened[0], **_memory()})
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    async for _ in questions():
        if running.done():
            running.result()
        say({**_memory(), **ticker.take(), "cpu": time.process_time(), "folded": watched.folded})
    ticking.cancel()
    await _left(service, running)


async def _unless_ended(running: asyncio.Task[None], waited: Awaitable[Any]) -> None:
    """Wait, but not beyond the end of the service, whose error is raised."""
    waiting = asyncio.ensure_future(waited)
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()


async def _left(service: Service, running: asyncio.Task[None]) -> None:
    service.end()
    await asyncio.wait([running])


def _memory() -> dict[str, int]:
    """Resident now, of that not shared with files, and the most there ever was, in bytes."""
    memory = psutil.Process().memory_full_info()
    return {"rss": memory.rss, "uss": memory.uss, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


KINDS = {"through": through, "serving": serving}


async def main() -> None:
    job = job_of_this_process()
    watched = Watched()
    async with Service(settings_of(job), frozenset({Role.CORRELATE})) as service:
        await KINDS[job["kind"]](job, watched, service)


if __name__ == "__main__":
    uvloop.run(main())
