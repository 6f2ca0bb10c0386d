"""One worker, as a process: ``python -m consumer.workers.process``, started by a crew, with its assignment on standard input.

It tells its figures on standard output, a line a second, and ends in order on SIGTERM or when its standard input ends.
"""

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import uvloop
from aiohttp import web

from consumer import logs
from consumer.ingest.server import WebhookServer
from consumer.ingest.spool import Spool
from consumer.kafka.errors import LogError
from consumer.kafka.producer import Producer
from consumer.service.assembly import spool_of
from consumer.service.listening import DRAIN_SECONDS, join, runner_of
from consumer.service.loop_watch import ending_a_blocked_loop
from consumer.service.memory import quieten_gc
from consumer.service.shutdown import ending_on_signal
from consumer.workers.assignment import Assignment
from consumer.workers.figures import told
from consumer.workers.forward import forwarding
from handlers.providers.table import PROVIDERS

logger = logging.getLogger(__name__)

TELL_EVERY_SECONDS = 1.0


def main() -> int:
    """Work; gives the exit code."""
    logs.configure(logs.level_from_environment())
    assignment: Assignment = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from the process that started this one
    logs.MASK.never_show(logs.secrets_in(assignment.settings))
    try:
        uvloop.run(_work(assignment))
    except (LogError, OSError) as error:
        logger.error("%s", error)
        return 1
    return 0


async def _work(assignment: Assignment) -> None:
    settings = assignment.settings.http
    async with AsyncExitStack() as stack:
        producer = Producer(assignment.connection)
        await producer.start()
        stack.push_async_callback(producer.stop)
        spool = stack.enter_context(spool_of(assignment.settings, assignment.topics))
        webhooks = WebhookServer(
            assignment.settings.accounts.values(),
            PROVIDERS,
            producer=producer,
            topics=assignment.topics,
            max_body_bytes=settings.max_body,
            spool=spool,
        )
        forward = await stack.enter_async_context(forwarding(assignment.main_socket))
        application = web.Application(client_max_size=settings.max_body)
        application.add_routes([*webhooks.routes(), web.route("*", "/{path:.*}", forward)])
        runner = runner_of(application)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await join(runner, settings.host, assignment.port)
        quieten_gc()
        await _until_told_to_end(webhooks, producer, spool)


async def _until_told_to_end(webhooks: WebhookServer, producer: Producer, spool: Spool | None) -> None:
    ending = asyncio.Event()
    with ending_on_signal(ending.set, kill=_nothing), ending_a_blocked_loop(_nothing):
        _when_input_ends(ending.set)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_tell(producer, webhooks)), group.create_task(producer.watch())]
            if spool:
                tasks.append(group.create_task(spool.run(producer)))
            await ending.wait()
            await webhooks.drain(DRAIN_SECONDS)
            for task in tasks:
                task.cancel()


def _when_input_ends(end: Callable[[], None]) -> None:
    """Call ``end`` when the main process is gone: nobody else holds the other end of our standard input."""
    loop, standard_input = asyncio.get_running_loop(), sys.stdin.fileno()

    def look() -> None:
        if not os.read(standard_input, 1):
            loop.remove_reader(standard_input)
            logger.warning("the main process is gone; ending in order")
            end()

    loop.add_reader(standard_input, look)


async def _tell(producer: Producer, webhooks: WebhookServer) -> None:
    """Tell the figures once a second; what the main process has not read yet is not added to."""
    loop = asyncio.get_running_loop()
    output, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    while True:
        if not output.get_write_buffer_size():
            output.write(told(failing=producer.failing and not webhooks.keeps))
        await asyncio.sleep(TELL_EVERY_SECONDS)


def _nothing() -> None:
    """Nothing outlives a worker."""


if __name__ == "__main__":
    sys.exit(main())
