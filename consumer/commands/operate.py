"""Stop orders and what became of them, over the operator API."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.text import Text

from consumer.client import OperatorApi
from consumer.commands.failures import failures_shown
from consumer.commands.options import AsJson, ConfigFile, Token, Url
from consumer.commands.place import find_place
from consumer.commands.terminal import err, out, show_json, show_table, style_of
from consumer.model.identity import mask_number
from consumer.model.orders import Mode, OrderState, Reach
from consumer.model.terminations import State

PANEL = "Operate"
T = TypeVar("T")

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")]
OrderId = Annotated[str, typer.Argument(metavar="ORDER")]
Account = Annotated[str | None, typer.Option(help="Only of this account.")]


def add_to(app: typer.Typer) -> None:
    for command in (stop, release, approve, reject, orders, terminations):
        app.command(rich_help_panel=PANEL)(command)


def ask(url: str | None, token: str | None, config: Path | None, question: Callable[[OperatorApi], T]) -> T:
    """Ask the API of the installation that is meant; what goes wrong ends the command with a paragraph.

    An answer that says less than there is, is told with a warning on the error stream.
    """
    with failures_shown():
        place = find_place(url, token, config)
        api = OperatorApi(place.url, place.token)
        answer = question(api)
    if api.incomplete:
        err.print(Text.assemble(("incomplete ", "bold yellow"), api.incomplete))
    return answer


def stop(  # noqa: PLR0913 -- a command's options are its arguments
    *,
    account: Annotated[str, typer.Option(help="The account as the configuration names it.")],
    reason: Annotated[str, typer.Option(help="Why; kept with every call that is stopped.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[ID or N]...", help="More for --call or --number.")
    ] = None,
    campaign: Annotated[str | None, typer.Option(metavar="ID", help="Stop a campaign.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Stop an agent.")] = None,
    call: Annotated[list[str] | None, typer.Option(metavar="ID …", help="Stop these calls.")] = None,
    number: Annotated[
        list[str] | None, typer.Option(metavar="N …", help="Stop calls to these numbers, of --campaign if it is given.")
    ] = None,
    reach: Annotated[
        Reach, typer.Option(help="everything: also the provider's own stop, for calls that no event has told of.")
    ] = Reach.KNOWN,
    hold: Annotated[
        str | None, typer.Option(metavar="24h|until-released|0", help="How long it stays in force; 0: once.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="shadow records what would be stopped and sends nothing.")] = Mode.ENFORCE,
    canary_share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, metavar="SHARE", help="canary: this share of the calls, by hash.")
    ] = None,
    allow_live: Annotated[
        bool, typer.Option("--allow-live", help="Needed where the provider's stop may cut calls that are live.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """Give a stop order: the calls of its scope that still wait are stopped, and those that come while it holds."""
    scope = _scope(campaign, agent, call or [], number or [], more or [])
    body: dict[str, Any] = {
        "account": account,
        "scope": scope,
        "reason": reason,
        "reach": reach,
        "hold": hold,
        "mode": mode,
        "allow_live": allow_live,
    }
    if canary_share is not None:
        if mode is not Mode.CANARY:
            raise typer.BadParameter("--canary-share is for --mode canary")
        body["canary_share"] = canary_share
    answer = ask(url, token, config, lambda api: api.post("stop-orders", body=body))
    if as_json:
        show_json(answer)
        return
    state = str(answer["state"])
    out.print(Text.assemble("stop order ", (answer["order_id"], "bold"), " is ", (state, style_of(state))))


def _scope(
    campaign: str | None, agent: str | None, calls: list[str], numbers: list[str], more: list[str]
) -> dict[str, Any]:
    """Put the selectors together; more than one is refused, but for numbers within a campaign."""
    if more and bool(calls) == bool(numbers):
        raise typer.BadParameter("what is not behind an option belongs to --call or to --number; give one of them")
    if calls:
        calls = [*calls, *more]
    elif numbers:
        numbers = [*numbers, *more]
    given = {"call_ids": calls, "agent_id": agent, "campaign_id": campaign, "mobile_numbers": numbers}
    scope = {name: value for name, value in given.items() if value}
    if len(scope) != 1 and set(scope) != {"campaign_id", "mobile_numbers"}:
        raise typer.BadParameter(
            "say what to stop: one of --campaign, --agent, --call, --number, or --number with --campaign"
        )
    return scope


def release(
    order: OrderId,
    reason: Annotated[str, typer.Option(help="Why it ends.")],
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """End a stop order; what waits because of it is not sent any more."""
    _change(order, "release", reason, as_json, ask_with=(url, token, config))


def approve(
    order: OrderId,
    reason: Annotated[str, typer.Option(help="Why it is right.")] = "approved on the command line",
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """Let an order through that waits for approval."""
    _change(order, "approve", reason, as_json, ask_with=(url, token, config))


def reject(
    order: OrderId,
    reason: Annotated[str, typer.Option(help="Why it is wrong.")] = "rejected on the command line",
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """Refuse an order that waits for approval."""
    _change(order, "reject", reason, as_json, ask_with=(url, token, config))


def _change(
    order: str, change: str, reason: str, as_json: bool, *, ask_with: tuple[str | None, str | None, Path | None]
) -> None:
    answer = ask(*ask_with, lambda api: api.post("stop-orders", order, change, body={"reason": reason}))
    if as_json:
        show_json(answer)
        return
    state = str(answer["state"])
    out.print(Text.assemble("stop order ", (order, "bold"), " is ", (state, style_of(state))))


def orders(
    state: Annotated[OrderState | None, typer.Option(help="Only in this state.")] = None,
    account: Account = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """List stop orders with what came of them."""
    found = ask(url, token, config, lambda api: api.listed("stop-orders", limit=limit, state=state, account=account))
    items = found["items"]
    if as_json:
        show_json(found)
        return
    if out.is_terminal and items:
        for item in items:
            out.print(_order_block(item))
    else:
        show_table((), map(_order_row, items), empty="no stop orders")


_COUNTS = ("matched", "requested", "confirmed", "missed")


def _order_row(order: Mapping[str, Any]) -> tuple[str, ...]:
    scope = f"{order['scope_in_words']} of {order['account']}"
    by = order["who"] or f"rule {order['rule']['name']}"
    counts = [str(order["counts"][name]) for name in _COUNTS]
    return (order["order_id"], when(order["created_at"]), order["state"], scope, by, *counts, order["reason"])


def _order_block(order: Mapping[str, Any]) -> Text:
    """Show an order in three lines, which fit any width."""
    order_id, given, state, scope, by, *counts, reason = _order_row(order)
    mode = "" if order["mode"] == "enforce" else f" ({order['mode']})"
    told = " · ".join(f"{name} {count}" for name, count in zip(_COUNTS, counts, strict=True))
    return Text.assemble(
        *((order_id, "bold"), "  ", (state, style_of(state)), (f"{mode}  {given}  by {by}\n", "dim")),
        *(f"  {scope}: “{reason}”\n  ", (f"{told}\n", "dim")),
    )


def terminations(  # noqa: PLR0913 -- a command's options are its arguments
    *,
    order: Annotated[str | None, typer.Option(metavar="ORDER", help="Only of this stop order.")] = None,
    account: Account = None,
    outcome: Annotated[State | None, typer.Option(help="Only with this outcome.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    config: ConfigFile = None,
) -> None:
    """List the calls that were to be stopped, and how each ended."""
    filters = {"order_id": order, "account": account, "outcome": outcome}
    found = ask(url, token, config, lambda api: api.listed("terminations", limit=limit, **filters))
    if as_json:
        show_json(found)
        return
    show_table(
        ("call", "outcome", "decided", "number", "orders"),
        [
            (
                item["call_id"],
                item["outcome"],
                when(item["decided_at"]),
                mask_number(item["number"]),
                ", ".join(item["orders"]),
            )
            for item in found["items"]
        ],
        empty="no terminations",
    )


def when(iso: str | None) -> str:
    return f"{datetime.fromisoformat(iso).astimezone():%d %b %H:%M:%S}" if iso else ""
