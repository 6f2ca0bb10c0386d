"""The demo's own configuration: written as a file, so that the other commands can be pointed at it."""

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

import orjson

ACCOUNT = "demo-ringg"
HOST = "127.0.0.1"
PORTS_TO_TRY = 50
LOG_NAME = "demo.log"
API_KEY, WEBHOOK_SECRET = "CALLBREAKER_DEMO_API_KEY", "CALLBREAKER_DEMO_WEBHOOK_SECRET"

RATE_LIMIT = {"requests_per_second": 5, "burst": 20}
SCENARIO = {
    "speed": 20,
    "campaigns": [],
    # A call that rings no longer than its webhook takes would be back in the queue before anybody could know.
    "dial": {"per_second": 3, "lines": 400, "ring_seconds": 60, "talk_seconds": 15},
    "rate_limit": RATE_LIMIT,
}

_FILE = """\
# Written by `callbreaker demo`; `callbreaker orders --config {file}` asks the demo while it is up.
accounts:
  {account}:
    provider: ringg
    api_key: ${{{api_key}}}
    base_url: {provider_url}
    webhook:
      auth: {{type: header, name: X-Webhook-Secret, secret: "${{{webhook_secret}}}"}}
      fields: {{campaign_id: custom_args_values.campaign_id}}
    rate_limit: {{requests_per_second: {requests_per_second}, burst: {burst}}}
rules:
  - {{name: opt-out, handler: opt_out, mode: enforce}}
http: {{host: {host}, port: {port}}}
data_dir: {data_dir}
"""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the two sides of the demo prove themselves with; made for one run."""

    api_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    webhook_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def as_environment(self) -> dict[str, str]:
        return {API_KEY: self.api_key, WEBHOOK_SECRET: self.webhook_secret}


def configuration_path(data_dir: Path) -> Path:
    return data_dir / "callbreaker.yaml"


def write_configuration(data_dir: Path, *, port: int, provider_url: str) -> Path:
    """Write the demo's configuration; it names its secrets and does not hold them."""
    path = configuration_path(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _FILE.format(
            file=path,
            account=ACCOUNT,
            api_key=API_KEY,
            webhook_secret=WEBHOOK_SECRET,
            provider_url=provider_url,
            host=HOST,
            port=port,
            data_dir=data_dir.absolute(),
            **RATE_LIMIT,
        )
    )
    return path


def write_scenario(data_dir: Path, run: str) -> Path:
    """Write what the simulated provider plays: twenty times as fast as life, but for the ringing."""
    path = data_dir / "scenario.json"
    path.write_bytes(orjson.dumps(SCENARIO | {"run": run}))
    return path


def free_port(first: int) -> int:
    """Give ``first`` or the next port that nobody listens on; ``first`` itself if there is none in reach."""
    return next((port for port in range(first, first + PORTS_TO_TRY) if _is_free(port)), first)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
