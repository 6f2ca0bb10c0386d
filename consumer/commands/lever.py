"""The safety lever on the command line."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from consumer.commands.operate import PANEL, ask, when
from consumer.commands.options import AsJson, ConfigFile, Token, Url
from consumer.commands.terminal import out, show_json

Reason = Annotated[str, typer.Option(help="Why; kept with it and shown to everybody.")]

app = typer.Typer(
    no_args_is_help=True, help="The safety lever: while it is engaged, nothing is sent that only rules want."
)


def add_to(main: typer.Typer) -> None:
    main.add_typer(app, name="lever", rich_help_panel=PANEL)


@app.command()
def show(as_json: AsJson = False, url: Url = None, token: Token = None, config: ConfigFile = None) -> None:
    """Tell whether it is engaged, by whom and why."""
    _tell(ask(url, token, config, lambda api: api.get("safety-lever")), as_json)


@app.command()
def engage(
    reason: Reason, as_json: AsJson = False, url: Url = None, token: Token = None, config: ConfigFile = None
) -> None:
    """Hold back what rules want. Rules go on deciding and recording; operators' orders are not touched."""
    body = {"engaged": True, "reason": reason}
    _tell(ask(url, token, config, lambda api: api.put("safety-lever", body=body)), as_json)


@app.command()
def release(
    reason: Reason, as_json: AsJson = False, url: Url = None, token: Token = None, config: ConfigFile = None
) -> None:
    """Let rules stop calls again. What waited is looked at anew before it is sent."""
    body = {"engaged": False, "reason": reason}
    _tell(ask(url, token, config, lambda api: api.put("safety-lever", body=body)), as_json)


def _tell(lever: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(lever)
        return
    state = ("engaged", "bold red") if lever["engaged"] else ("released", "green")
    who = f" by {lever['who']}, {when(lever['at'])}: “{lever['reason']}”" if lever["who"] else ""
    out.print(Text.assemble("the safety lever is ", state, who))
