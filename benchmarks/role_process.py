"""One role as ``callbreaker ROLE`` runs it, which notes beside its configuration how long its event loop was blocked."""

import asyncio
import os
import sys
from pathlib import Path

import orjson
import uvloop

from benchmarks.ticker import Ticker
from consumer.service.service import Role, Service
from consumer.service.shutdown import ending_on_signal
from consumer.settings import load_settings

EVERY_SECONDS = 1.0


async def main(role: str, config: Path) -> None:
    """Serve until a signal."""
    settings = load_settings(config, os.environ)
    async with Service(settings, frozenset({Role(role)})) as service:
        ticker = Ticker()
        noting = [asyncio.create_task(ticker.run()), asyncio.create_task(_note(ticker, config.with_name("ticks")))]
        with ending_on_signal(service.end, kill=service.kill):
            await service.run()
        for task in noting:
            task.cancel()


async def _note(ticker: Ticker, path: Path) -> None:
    with path.open("ab", buffering=0) as ticks:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            ticks.write(orjson.dumps(ticker.take()) + b"\n")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[3])))
