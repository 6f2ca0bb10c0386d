"""``simulate``: a provider on this machine that dials, sends webhooks, can be told to stop, and judges."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer
import uvloop
import yaml
from pydantic import ValidationError

from consumer.commands.failures import USAGE, CommandError, failures_shown
from consumer.commands.options import AsJson
from consumer.commands.terminal import show_facts
from consumer.service.shutdown import ending_on_signal
from consumer.simulate import (
    Bearer,
    HeaderSecret,
    Hmac,
    NoAuth,
    PortTakenError,
    Scenario,
    SimulatedProvider,
    StandardWebhooks,
    WebhookAuth,
    parse_fault,
    parse_scenario,
)

_AUTHS: Mapping[str, Callable[[str], WebhookAuth]] = {
    "header": HeaderSecret,
    "bearer": Bearer,
    "hmac-sha256": Hmac,
    "standard-webhooks": StandardWebhooks,
    "none": lambda _: NoAuth(),
}
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
    with failures_shown(PortTakenError):
        settings = _settings(scenario)
        _put(settings, ("speed",), speed)
        _put(settings, ("seed",), seed)
        _put(settings, ("run",), run)
        _put(settings, ("dial", "per_second"), dial_per_second)
        _put(settings, ("outcomes", "opt_out"), opt_out)
        if calls is not None:
            first = (settings.get("campaigns") or [{}])[0]
            settings["campaigns"] = [{**first, "calls": calls}] if calls else []
        key, secret = api_key or secrets.token_hex(12), webhook_secret or f"whsec_{secrets.token_hex(24)}"
        simulator = SimulatedProvider(
            _scenario(settings, fault or []),
            provider=provider,
            port=port,
            webhook_url=webhook_url,
            webhook_auth=_AUTHS[webhook_auth](secret),
            api_key=key,
        )
        made = {
            "API key": "" if api_key else key,
            "webhook secret": "" if webhook_secret or not webhook_url else secret,
        }
        uvloop.run(_play(simulator, made, as_json=as_json))


async def _play(simulator: SimulatedProvider, made: Mapping[str, str], *, as_json: bool) -> None:
    playing = asyncio.ensure_future(_started(simulator, made, as_json=as_json))
    with ending_on_signal(playing.cancel, kill=lambda: None):
        with contextlib.suppress(asyncio.CancelledError):
            await playing
        await simulator.stop()


async def _started(simulator: SimulatedProvider, made: Mapping[str, str], *, as_json: bool) -> None:
    await simulator.start()
    facts = {"API": simulator.base_url, "control": simulator.control_url} | {n: v for n, v in made.items() if v}
    if as_json:
        typer.echo(orjson.dumps({name.lower().replace(" ", "_"): value for name, value in facts.items()}).decode())
    else:
        show_facts("the simulated provider is up", facts.items())
    await simulator.wait()


def _settings(file: Path | None) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text()) if file else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{file} cannot be read as a scenario: {error}", USAGE) from None
    if not isinstance(settings, dict):
        raise CommandError(f"{file} is not a scenario: it must be a mapping, as in docs/simulator.md", USAGE)
    return settings


def _put(settings: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    if value is None:
        return
    for part in path[:-1]:
        settings[part] = dict(settings.get(part) or {})
        settings = settings[part]
    settings[path[-1]] = value


def _scenario(settings: Mapping[str, Any], faults: list[str]) -> Scenario:
    try:
        extra = [parse_fault(text) for text in faults]
        scenario = parse_scenario(settings)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise CommandError(f"the scenario cannot be played: {'; '.join(problems)}", USAGE) from None
    except ValueError as error:
        raise CommandError(f"the scenario cannot be played: {error}", USAGE) from None
    return replace(scenario, faults=(*scenario.faults, *extra))
