"""What happened to one call and why, over the operator API."""

from typing import Annotated, Any

import typer
from rich.text import Text

from consumer.client import OperatorApi
from consumer.commands.operate import PANEL, ask
from consumer.commands.options import AsJson, ConfigFile, Token, Url
from consumer.commands.story import Line, headline, story
from consumer.commands.terminal import out, show_facts, show_hanging, show_json, style_of
from consumer.commands.why_shown import show_why


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(explain)


def explain(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT")],
    call_id: Annotated[str, typer.Argument(metavar="CALL_ID")],
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """Tell what happened to a call: its events, who decided to stop it and why, each request, how it ended, why not."""

    def both(api: OperatorApi) -> tuple[dict[str, Any], dict[str, Any]]:
        return api.get("calls", account, call_id), api.get("calls", account, call_id, "why")

    call, why = ask(url, token, config, both)
    if as_json:
        show_json({**call, "why": why})
        return
    show_facts(f"{account} {call_id}", headline(call))
    out.print()
    day = None
    for line in story(call):
        if line.at.astimezone().date() != day:
            day = line.at.astimezone().date()
            out.print(Text(f"{line.at.astimezone():%a %d %b %Y, %Z}", style="dim"))
        _tell(line)
    show_why(why)


_STYLES = {"decided": "bold", "request": "cyan", "answer": "cyan"}


def _tell(line: Line) -> None:
    style = _STYLES.get(line.what) or style_of(line.text.partition(":")[0])
    time = f"{line.at.astimezone():%H:%M:%S.%f}"[:-3]
    detail = f"  {line.detail}" if line.detail else ""
    lead = Text.assemble((f"  {time}  ", "dim"), (f"{line.what:8}", style), " ")
    show_hanging(lead, Text.assemble(line.text, (detail, "dim")))
