"""The demo: a campaign is dialled, people opt out, an operator stops the rest, and the counts must add up."""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from consumer import logs
from consumer.client import OperatorApi
from consumer.demo.account import HEEDED_SECONDS, Entry, account, campaign_stop
from consumer.demo.board import Board, show_account, show_ways_on
from consumer.demo.figures import Figures, look
from consumer.demo.provider import ProviderProcess
from consumer.demo.setting import (
    ACCOUNT,
    HOST,
    LOG_NAME,
    Secrets,
    configuration_path,
    free_port,
    write_configuration,
    write_scenario,
)
from consumer.kafka.embedded import Progress
from consumer.kafka.embedded_process import end_left_over
from consumer.kafka.embedded_state import locked
from consumer.service.service import Role, Service
from consumer.service.shutdown import ending_on_signal
from consumer.settings import load_settings

LOOK_SECONDS = 0.25
SETTLED_LOOKS = 5
READY_SECONDS = 30.0
DIAL_SECONDS = 120.0
SETTLE_SECONDS = 60.0
NEVER_DIALLED = 0.65
"""The stop order is given when no more than this share of the campaign was never dialled."""

T = TypeVar("T")


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the demo is played. ``port`` and ``provider_port`` are the first to be tried."""

    data_dir: Path = Path(".callbreaker/demo")
    calls: int = 2_000
    port: int = 8080
    provider_port: int = 8090
    stay: bool = True


async def play(options: Options, console: Console) -> bool:
    """Play the demo until its end, or a signal; gives whether the counts add up."""
    demo = _Demo(options, console)
    playing = asyncio.ensure_future(demo.play())
    with ending_on_signal(playing.cancel, kill=demo.kill):
        try:
            return await playing
        except asyncio.CancelledError:
            console.print("ended, with everything that the demo had started", style="dim")
            return True


async def clear(data_dir: Path) -> None:
    """Take away what an earlier demo left, and end its broker if it was killed.

    Raises:
        EmbeddedKafkaError: another demo is up in this directory.

    """
    kafka = data_dir / "kafka"
    with locked(kafka):
        for pid_file in kafka.glob("node-*/pid"):
            await end_left_over(pid_file)
        for path in (*kafka.glob("node-*"), kafka / "logs", data_dir / "views"):
            shutil.rmtree(path, ignore_errors=True)
        (kafka / "cluster.json").unlink(missing_ok=True)


class _Demo:
    def __init__(self, options: Options, console: Console) -> None:
        self._options = options
        self._console = console
        self._board = Board(console)
        self._service: Service
        self._provider: ProviderProcess

    def kill(self) -> None:
        """End at once what would outlive this process."""
        with contextlib.suppress(AttributeError, ProcessLookupError):
            self._service.kill()
            if self._provider.pid:
                os.kill(self._provider.pid, signal.SIGKILL)

    async def play(self) -> bool:
        async with AsyncExitStack() as stack:
            with self._board:
                self._board.doing("clearing what an earlier demo left")
                await clear(self._options.data_dir)
                log = stack.enter_context((self._options.data_dir / LOG_NAME).open("w"))
                logs.configure(logging.INFO, log)
                ended = await self._start(stack)
                entries, stopped = await _unless(ended, self._tell())
            show_account(self._console, entries)
            adds_up = all(entry.agrees for entry in entries)
            if self._options.stay:
                show_ways_on(self._console, self._service.started, configuration_path(self._options.data_dir), stopped)
                await ended
        return adds_up

    async def _start(self, stack: AsyncExitStack) -> "asyncio.Future[None]":
        """Start both sides together; gives what ends (with an error) when one of them does."""
        options, made = self._options, Secrets()
        log = options.data_dir / LOG_NAME
        port, provider_port = free_port(options.port), free_port(options.provider_port)
        file = write_configuration(options.data_dir, port=port, provider_url=f"http://{HOST}:{provider_port}/ca/api/v0")
        settings = load_settings(file, made.as_environment())
        logs.MASK.never_show(logs.secrets_in(settings))
        self._service = service = Service(settings, frozenset(Role), on_progress=self._on_progress)
        self._provider = provider = ProviderProcess(
            port=provider_port,
            webhook_url=f"http://{HOST}:{port}/webhooks/{ACCOUNT}",
            secrets=made,
            scenario=write_scenario(options.data_dir, run=secrets.token_hex(4)),
            log=options.data_dir / "provider.log",
        )
        stack.push_async_exit(service)
        working = asyncio.Event()
        ended = asyncio.ensure_future(_both(working, service, provider))
        stack.push_async_callback(provider.stop)
        stack.push_async_callback(_stopped, ended)
        async with asyncio.TaskGroup() as group:
            group.create_task(service.__aenter__())
            group.create_task(provider.start())
        working.set()
        try:
            async with asyncio.timeout(READY_SECONDS):
                await _unless(ended, service.ready())
        except TimeoutError:
            raise DemoError(f"the service is not ready after {READY_SECONDS:g} s; the log is {log}") from None
        self._board.done(f"callbreaker on {service.started.url}/, Kafka on {service.started.kafka_servers}")
        self._board.done(f"the simulated provider on {provider.base_url}")
        return ended

    def _on_progress(self, progress: Progress) -> None:
        self._board.doing(f"Kafka is {progress.stage}: {progress.detail}")

    async def _tell(self) -> tuple[list[Entry], str | None]:
        """Play the story; gives the account, and the id of a call that was stopped."""
        board, provider, calls = self._board, self._provider, self._options.calls
        await provider.expect({"opt_outs": True})
        campaign = await provider.play(calls)
        board.doing(f"a campaign of {calls:,} calls is dialled; who asks for it is not called again")
        await self._watch(lambda figures: figures.webhooks_taken > 0, DIAL_SECONDS)
        board.done("the first webhook is taken")
        await self._watch(lambda figures: _dialled(figures, calls), DIAL_SECONDS)
        await provider.expect({"campaign_id": campaign})
        api = OperatorApi(self._service.started.url, self._service.started.token or "")
        wanted = {"account": ACCOUNT, "scope": {"campaign_id": campaign}, "reason": "the demo has seen enough"}
        order = await asyncio.to_thread(api.post, "stop-orders", body=wanted)
        heeded_from = datetime.now(UTC) + timedelta(seconds=HEEDED_SECONDS)
        board.done(f"an operator orders to stop the campaign: {order['order_id']}")
        board.doing("the calls that still wait are stopped, 100 to a request, and watched until they are")
        figures = await self._settled()
        found = await asyncio.to_thread(api.listed, "terminations", order_id=order["order_id"], limit=calls * 10)
        terminations = found["items"]
        board.done("everything is settled")
        late = await provider.first_dialled_since(campaign, heeded_from)
        stopped = next((t["call_id"] for t in terminations if t["outcome"] == "confirmed"), None)
        return account(figures, campaign_stop(terminations, late)), stopped

    async def _watch(self, reached: Callable[[Figures], bool], seconds: float) -> Figures:
        """Show figures until a condition holds. Raises ``DemoError`` when it does not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    figures = look(self._service, await self._provider.verdict())
                    self._board.figures(figures)
                    if reached(figures):
                        return figures
                    await asyncio.sleep(LOOK_SECONDS)
        raise DemoError(f"the campaign got stuck; the log is {self._options.data_dir / LOG_NAME}")

    async def _settled(self) -> Figures:
        """Watch until nothing has been on its way for a while; the account tells if something still is."""
        looks = 0

        def settled(figures: Figures) -> bool:
            nonlocal looks
            looks = looks + 1 if figures.settled else 0
            return looks == SETTLED_LOOKS

        try:
            return await self._watch(settled, SETTLE_SECONDS)
        except DemoError:
            return look(self._service, await self._provider.verdict())


def _dialled(figures: Figures, calls: int) -> bool:
    """Whether the order may come: nobody can be expected to stop calls that no webhook has told of yet."""
    return figures.calls_seen >= calls and figures.never_dialled <= NEVER_DIALLED * calls


async def _both(working: asyncio.Event, service: Service, provider: ProviderProcess) -> None:
    """Let the service work; the provider's end is an end with an error."""
    await working.wait()
    watching = asyncio.ensure_future(provider.ended())
    running = asyncio.ensure_future(service.run())
    try:
        done, _ = await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        watching.cancel()
        service.end()
        await running


async def _stopped(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))


async def _unless(ended: "asyncio.Future[None]", step: Coroutine[object, object, T]) -> T:
    """Take a step unless what it needs ends before; then its error is raised."""
    stepping = asyncio.ensure_future(step)
    try:
        await asyncio.wait((stepping, ended), return_when=asyncio.FIRST_COMPLETED)
        if not stepping.done():
            ended.result()
        return await stepping
    finally:
        stepping.cancel()
        await asyncio.wait((stepping,))
