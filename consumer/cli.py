"""``callbreaker``: the command line."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from consumer.app import Role, Service
from consumer.settings import load_settings

app = typer.Typer()


@app.command()
def run(config: Annotated[Path | None, typer.Option()] = None) -> None:
    """Run every role in one process."""
    logging.basicConfig(level=logging.INFO)

    async def serve() -> None:
        async with Service(load_settings(config, os.environ), frozenset(Role)) as service:
            typer.echo(str(service.started))
            await service.run()

    asyncio.run(serve())


@app.callback()
def callbreaker() -> None:
    """A circuit breaker for outbound AI calling."""


def main() -> None:
    app()
