"""``demo``: everything on one machine, with a provider that is only simulated."""

from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.failures import FAILED, died, failures_shown
from consumer.commands.terminal import out


def demo(
    calls: Annotated[int, typer.Option(min=50, max=100_000, help="Size of the campaign.")] = 2_000,
    port: Annotated[int, typer.Option(help="Of the service, or the next free one.")] = 8080,
    provider_port: Annotated[int, typer.Option(help="Of the simulated provider, or the next free one.")] = 8090,
    data_dir: Annotated[Path, typer.Option(help="Where it works; cleared at each start.")] = Path(".callbreaker/demo"),
    leave: Annotated[
        bool, typer.Option("--exit", help="Do not stay up after the account; exit code 1 if it does not add up.")
    ] = False,
) -> None:
    """Watch it work: a simulated campaign is dialled, people opt out, an operator stops the rest, and it adds up."""
    # As in commands.serve: only this command needs what runs the service.
    import uvloop  # noqa: PLC0415

    from consumer.demo.play import DemoError, Options, play  # noqa: PLC0415
    from consumer.demo.provider import ProviderError  # noqa: PLC0415
    from consumer.kafka.embedded import EmbeddedKafkaError  # noqa: PLC0415
    from consumer.kafka.errors import LogError  # noqa: PLC0415
    from consumer.service.listening import ListenError  # noqa: PLC0415

    options = Options(data_dir=data_dir, calls=calls, port=port, provider_port=provider_port, stay=not leave)
    expected = (EmbeddedKafkaError, ListenError, LogError, DemoError, ProviderError)
    with failures_shown(*expected):
        try:
            adds_up = uvloop.run(play(options, out))
        except ExceptionGroup as group:
            raise died(group, expected) from None
    if not adds_up:
        raise typer.Exit(FAILED)
