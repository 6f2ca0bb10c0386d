"""A service in a process of its own, to be killed and started again, and what tests ask of it over HTTP."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil
import yaml

from tests.patience import PATIENCE_SECONDS

ACCOUNT = "acme-ringg"
API_KEY = "api-key-of-the-test-1"
SECRET = "webhook-secret-of-the-test"
TOKEN = "operator-token-of-the-test"


def configuration(data_dir: Path, *, port: int, provider_url: str, **account: Any) -> dict[str, Any]:
    """One Ringg account at the simulated provider, the opt-out rule, embedded Kafka."""
    return {
        "accounts": {
            ACCOUNT: {
                "provider": "ringg",
                "api_key": API_KEY,
                "base_url": provider_url,
                "webhook": {
                    "auth": {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET},
                    "fields": {"campaign_id": "custom_args_values.campaign_id"},
                },
                "rate_limit": {"requests_per_second": 20, "burst": 20},
                **account,
            }
        },
        "rules": [{"name": "opt-out", "handler": "opt_out", "mode": "enforce"}],
        "operators": [{"name": "test", "role": "approver", "token": TOKEN}],
        "http": {"port": port},
        "data_dir": str(data_dir),
    }


class ServiceProcess:
    """``callbreaker run`` in a process of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.config = folder / "callbreaker.yaml"
        self.configure(settings)
        self.url = f"http://127.0.0.1:{settings['http']['port']}"
        self.log = folder / "service.log"
        self.process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    def configure(self, settings: dict[str, Any]) -> None:
        """Write what the next start reads; the port stays."""
        self.config.write_text(yaml.safe_dump(settings))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill(signal.SIGTERM)
        if self._session:
            await self._session.close()

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "consumer", "run", "--config", str(self.config), stdout=log, stderr=log
            )
        await self.until(self.ready)

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)

    def broker_pids(self) -> list[int]:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in children if "kafka.Kafka" in child.cmdline()]

    async def ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, self.log.read_text()[-3000:]
        try:
            return (await self.get("/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def get(self, path: str) -> tuple[int, Any]:
        assert self._session is not None
        async with self._session.get(self.url + path) as response:
            return response.status, await response.json()

    async def post(
        self, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        assert self._session is not None
        async with self._session.post(self.url + path, json=body, headers=headers) as response:
            return response.status, await response.json(), dict(response.headers)

    async def webhook(self, body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        status, _, headers = await self.post(f"/webhooks/{ACCOUNT}", body, {"X-Webhook-Secret": SECRET})
        return status, headers

    async def stop_order(self, scope: dict[str, Any]) -> str:
        status, answer, _ = await self.post(
            "/api/v1/stop-orders", {"account": ACCOUNT, "scope": scope, "reason": "the test says so"}
        )
        assert status == 202, answer
        return str(answer["order_id"])

    async def until(self, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for an async condition; fails with the end of the log."""
        give_up_at = time.monotonic() + seconds
        while not await condition():
            assert time.monotonic() < give_up_at, self.log.read_text()[-3000:]
            await asyncio.sleep(0.05)


def ringg_envelope(call_id: str, status: str, *, retry: int = 0, number: str = "+918882876897") -> dict[str, Any]:
    """Ringg's ``callback_url`` envelope, the channel that tells of queued calls."""
    return {
        "status": "success",
        "message": "Call Details",
        "data": {
            "call_id": call_id,
            "status": status,
            "retry": retry,
            "agent_id": "agent-1",
            "to_number": number,
            "custom_args_values": {"campaign_id": "campaign-1"},
        },
    }


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
