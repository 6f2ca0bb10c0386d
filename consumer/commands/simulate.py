"""``simulate``: a provider on this machine that dials, sends webhooks, can be told to stop, and judges."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from consumer.commands.failures import failures_shown
from consumer.commands.options import AsJson

AuthName = Literal["header", "bearer", "hmac-sha256", "standard-webhooks", "none"]
ProviderName = Literal["ringg", "revenueable", "bland", "sonarly", "vapi"]


def simulate(  # noqa: PLR0913 -- a command's options are its arguments
    *,
    provider: Annotated[ProviderName, typer.Option(help="Whose API and webhooks to play.")] = "ringg",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the API; 0: any free one.")] = 8090,
    webhook_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where webhooks go, …/webhooks/ACCOUNT; without it none are sent.")
    ] = None,
    webhook_auth: Annotated[AuthName, typer.Option(help="How webhooks prove where they come from.")] = "header",
    webhook_secret: Annotated[
        str | None, typer.Option(envvar="SIMULATOR_WEBHOOK_SECRET", help="Made and printed if it is not given.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="SIMULATOR_API_KEY", help="Made and printed if it is not given.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All settings, as docs/simulator.md has them (YAML or JSON).")
    ] = None,
    calls: Annotated[int | None, typer.Option(min=0, help="Size of the campaign; 0: none is started.")] = None,
    speed: Annotated[float | None, typer.Option(help="How many of its seconds pass in one of ours.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed plays the same story.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Mixed into ids and numbers: the same story with other calls.")
    ] = None,
    dial_per_second: Annotated[float | None, typer.Option(help="Attempts, in the provider's seconds.")] = None,
    opt_out: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of the people, who do not want more calls.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND[,FIELD=VALUE…]", help="Misbehave, e.g. timeout,share=0.1; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play a provider: dial campaigns, send webhooks, answer the terminate API, misbehave on demand, and judge."""
    from consumer.commands.simulating import EXPECTED, Played, scenario_of, simulated  # noqa: PLC0415 -- as in commands.serve

    changed: dict[tuple[str, ...], float | str | None] = {
        ("speed",): speed,
        ("seed",): seed,
        ("run",): run,
        ("dial", "per_second"): dial_per_second,
        ("outcomes", "opt_out"): opt_out,
    }
    with failures_shown(*EXPECTED):
        played = Played(provider, port, webhook_url, webhook_auth, webhook_secret, api_key)
        simulated(played, scenario_of(scenario, changed, calls, fault or []), as_json=as_json)
