"""What ``simulate`` does: a scenario put together, and the simulated provider that plays it until it is told to end."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import typer
import uvloop
import yaml
from pydantic import ValidationError

from consumer.commands.failures import USAGE, CommandError
from consumer.commands.simulate import AuthName, ProviderName
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

EXPECTED = (PortTakenError,)
_AUTHS: Mapping[str, Callable[[str], WebhookAuth]] = {
    "header": HeaderSecret,
    "bearer": Bearer,
    "hmac-sha256": Hmac,
    "standard-webhooks": StandardWebhooks,
    "none": lambda _: NoAuth(),
}


@dataclass(frozen=True, slots=True)
class Played:
    """Whose API is played where, and what both sides prove themselves with; a secret that is None is made."""

    provider: ProviderName
    port: int
    webhook_url: str | None
    webhook_auth: AuthName
    webhook_secret: str | None = field(repr=False)
    api_key: str | None = field(repr=False)


def simulated(played: Played, scenario: Scenario, *, as_json: bool) -> None:
    """Play until a signal; prints the addresses, and the secrets that were made."""
    key = played.api_key or secrets.token_hex(12)
    secret = played.webhook_secret or f"whsec_{secrets.token_hex(24)}"
    simulator = SimulatedProvider(
        scenario,
        provider=played.provider,
        port=played.port,
        webhook_url=played.webhook_url,
        webhook_auth=_AUTHS[played.webhook_auth](secret),
        api_key=key,
    )
    made = {
        "API key": "" if played.api_key else key,
        "webhook secret": "" if played.webhook_secret or not played.webhook_url else secret,
    }
    uvloop.run(_play(simulator, made, as_json=as_json))


def scenario_of(
    file: Path | None, changed: Mapping[tuple[str, ...], object], calls: int | None, faults: Sequence[str]
) -> Scenario:
    """Read the scenario, put what is ``changed`` over it (None: is not), and add faults.

    Raises:
        CommandError: it cannot be read, or cannot be played.

    """
    settings = _settings(file)
    for path, value in changed.items():
        _put(settings, path, value)
    if calls is not None:
        first = (settings.get("campaigns") or [{}])[0]
        settings["campaigns"] = [{**first, "calls": calls}] if calls else []
    return _scenario(settings, faults)


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


def _scenario(settings: Mapping[str, Any], faults: Sequence[str]) -> Scenario:
    try:
        extra = [parse_fault(text) for text in faults]
        scenario = parse_scenario(settings)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        raise CommandError(f"the scenario cannot be played: {'; '.join(problems)}", USAGE) from None
    except ValueError as error:
        raise CommandError(f"the scenario cannot be played: {error}", USAGE) from None
    return replace(scenario, faults=(*scenario.faults, *extra))
