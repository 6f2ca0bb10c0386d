"""What was kept because nothing could be made of it, over the operator API."""

from typing import Annotated

import typer

from consumer.commands.operate import PANEL, Limit, ask, when
from consumer.commands.options import AsJson, ConfigFile, Token, Url
from consumer.commands.terminal import out, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="What was kept because nothing could be made of it.")


def add_to(main: typer.Typer) -> None:
    main.add_typer(app, name="rejected", rich_help_panel=PANEL)


@app.command("list")
def rejected_list(
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """List webhooks that nothing could be made of, and failures of rules."""
    found = ask(url, token, config, lambda api: api.listed("rejected", limit=limit))
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "at", "source", "account", "bytes", "reason"),
        [
            (
                item["rejected_id"],
                when(item["at"]),
                f"rule {item['rule']}" if item["rule"] else item["source"] or "",
                item["account"] or "",
                "" if item["body_bytes"] is None else str(item["body_bytes"]),
                item["reason"] or "",
            )
            for item in found["items"]
        ],
        empty="nothing was rejected",
    )


@app.command("replay")
def rejected_replay(
    rejected_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """Read a rejected webhook again, with the configuration and the adapters as they are now."""
    answer = ask(url, token, config, lambda api: api.post("rejected", rejected_id, "replay"))
    if as_json:
        show_json(answer)
        return
    count = answer["events"]
    out.print(
        f"{rejected_id} is understood now: {count} event{'' if count == 1 else 's'} written as {answer['event_id']}"
    )
