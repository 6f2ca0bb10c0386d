"""``callbreaker``: the command line."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from consumer.app import Role, Service
from consumer.settings import load_settings
import os

app = typer.Typer()

@app.command()
def run(config: Annotated[Path | None, typer.Option()] = None) -> None:
    import logging
    logging.basicConfig(level=logging.INFO)
    async def go():
        async with Service(load_settings(config, os.environ), frozenset(Role)) as s:
            print(s.started, flush=True)
            await s.run()
    asyncio.run(go())

@app.command()
def x(): ...

def main() -> None:
    app()
