"""``run``, one role alone, and ``kafka``: the commands that stay up."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.failures import failures_shown
from consumer.commands.options import DEFAULT_DATA_DIR, ConfigFile, configuration_file

ROLES = {
    "ingest": "Take webhooks in and write them to Kafka.",
    "correlate": "Fold events into calls, ask the rules, decide which calls to stop.",
    "guard": "Let rules' orders through, or hold them for approval.",
    "terminate": "Tell the providers which calls to stop, and watch until they have.",
    "console": "Serve the operator API and the page.",
}


def add_to(app: typer.Typer) -> None:
    app.command("run", rich_help_panel=PANEL)(run)
    for role, text in ROLES.items():
        app.command(role, help=f"{text} One role, for scaling out.", rich_help_panel=PANEL)(_role(role))
    app.command("kafka", rich_help_panel=PANEL)(kafka)


PANEL = "Serve"


def run(config: ConfigFile = None) -> None:
    """Run every role in one process; with its own Kafka, unless one is configured."""
    _serve(config, frozenset(ROLES))


def _role(role: str) -> Callable[..., None]:
    def one_role(config: ConfigFile = None) -> None:
        _serve(config, frozenset({role}))

    return one_role


def kafka(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the first broker; 0: any free one.")] = 0,
    nodes: Annotated[int, typer.Option(min=1, max=9, help="How many brokers.")] = 1,
    data_dir: Annotated[Path, typer.Option(help="Where the brokers keep their data.")] = DEFAULT_DATA_DIR,
) -> None:
    """Run only the embedded Kafka, for several workers on one machine."""
    from consumer.commands.serving import serve_kafka  # noqa: PLC0415 -- see _serve
    from consumer.kafka.embedded import EmbeddedKafkaError  # noqa: PLC0415

    with failures_shown(EmbeddedKafkaError):
        serve_kafka(data_dir, port, nodes)


def _serve(config: Path | None, roles: frozenset[str]) -> None:
    # The service takes a second to import; a client command is done in half of that.
    from consumer.commands.serving import EXPECTED, serve  # noqa: PLC0415

    with failures_shown(*EXPECTED):
        serve(configuration_file(config), roles)
