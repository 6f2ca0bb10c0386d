"""The rules in force and their modes, over the operator API."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from consumer.commands.operate import ask, when
from consumer.commands.options import AsJson, ConfigFile, Token, Url
from consumer.commands.terminal import out, show_json, show_table
from consumer.model.orders import Mode


def add_to(rules: typer.Typer) -> None:
    rules.command("list")(rules_list)
    rules.command("mode")(rules_mode)


def rules_list(as_json: AsJson = False, url: Url = None, token: Token = None, config: ConfigFile = None) -> None:
    """List the rules in force: in which mode, how many orders each has made, and when the last."""
    found = ask(url, token, config, lambda api: api.get("rules"))
    if as_json:
        show_json(found)
        return
    columns = ("rule", "mode", "orders", "last", "hash", "set by")
    show_table(columns, map(_row, found["items"]), empty="no rules are configured")


def rules_mode(  # noqa: PLR0913 -- a command's options are its arguments
    *,
    rule: Annotated[str, typer.Argument(metavar="RULE")],
    mode: Annotated[str, typer.Argument(metavar="shadow|canary|enforce|configured")],
    reason: Annotated[str, typer.Option(help="Why; kept with it and shown to everybody.")],
    share: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="canary: this share of the calls.")] = None,
    campaign: Annotated[list[str] | None, typer.Option(metavar="ID …", help="canary: these campaigns.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """Set the mode of a rule while the service runs; `configured` takes that back. Orders that it has made keep theirs."""
    if mode not in (*Mode, "configured"):
        raise typer.BadParameter("one of shadow, canary, enforce, configured", param_hint="MODE")
    body: dict[str, Any] = {"mode": None if mode == "configured" else mode, "reason": reason}
    if share is not None or campaign:
        body["canary"] = {"share": share, "campaigns": campaign or []}
    told = ask(url, token, config, lambda api: api.put("rules", rule, "mode", body=body))
    if as_json:
        show_json(told)
        return
    out.print(Text.assemble("rule ", (rule, "bold"), " is in mode ", (_mode(told), "bold")))


def _row(rule: Mapping[str, Any]) -> tuple[str, ...]:
    told = rule["set"]
    who = f"{told['who']}: {told['reason']}" if told else ""
    return (rule["name"], _mode(rule), str(rule["orders"]), when(rule["last_fired_at"]), rule["hash"], who)


def _mode(rule: Mapping[str, Any]) -> str:
    if rule["mode"] != Mode.CANARY:
        return str(rule["mode"])
    return f"canary {', '.join(rule['canary_campaigns']) or format(rule['canary_share'], '.4g')}"
