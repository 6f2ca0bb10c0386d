"""``backtest``: what rules would have done, over a file of webhooks or over what Kafka has recorded."""

from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.failures import failures_shown
from consumer.commands.options import AsJson, ConfigFile


def backtest(  # noqa: PLR0913 -- a command's options are its arguments
    *,
    rules: Annotated[Path, typer.Option(metavar="FILE", help="A configuration, or a file with only `rules:`.")],
    events: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Webhooks, one a line; without it, what Kafka recorded.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Begin here: 2026-11-20T08:00Z, or 24h for a day ago.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="T", help="End here; now, if it is not given.")] = None,
    expect: Annotated[
        list[str] | None, typer.Option(metavar="[RULE.]FIGURE<=N", help="Exit with 1 unless this holds; repeatable.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Of the accounts in --events; then no configuration is needed.")
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Write each order and decision there, as Kafka would have it."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Try rules on what has happened: what they would have stopped, how those calls went on, and what that had saved."""
    # What this needs takes a second to import; a client command is done in half of that.
    from consumer.commands.backtesting import EXPECTED, Asked, run  # noqa: PLC0415 -- as in commands.serve

    with failures_shown(*EXPECTED):
        asked = Asked(rules, events, since, until, tuple(expect or ()), provider, decisions, config)
        met = run(asked, as_json=as_json)
    if not met:
        raise typer.Exit(1)
