"""``callbreaker``: the command line. Each group of commands is in a file of ``consumer.commands``."""

from typing import Annotated

import typer

from consumer.commands import config, explain, lever, operate, rejected, rule_modes, rules_test, serve
from consumer.commands.backtest import backtest
from consumer.commands.demo import demo
from consumer.commands.simulate import simulate

TRY_OUT = "Try out"

app = typer.Typer(
    name="callbreaker",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 -- as in commands.serve

        typer.echo(f"callbreaker {version('callbreaker')}")
        raise typer.Exit


@app.callback()
def callbreaker(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """A circuit breaker for outbound AI calling: webhooks in, stop orders out, every stopped call proven."""


serve.add_to(app)
operate.add_to(app)
explain.add_to(app)
rejected.add_to(app)
lever.add_to(app)
app.command(rich_help_panel=TRY_OUT)(demo)
app.command(rich_help_panel=TRY_OUT)(simulate)
app.command(rich_help_panel=TRY_OUT)(backtest)
rule_modes.add_to(rules_test.app)
app.add_typer(rules_test.app, name="rules", rich_help_panel=TRY_OUT)
app.add_typer(config.app, name="config", rich_help_panel=serve.PANEL)


def main() -> None:
    app()
