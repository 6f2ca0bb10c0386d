"""The simulated provider as a process of its own, and what the demo asks of it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from consumer.demo.setting import Secrets
from consumer.kafka.embedded_process import WRAPPER, end

START_SECONDS = 20.0
STOP_SECONDS = 5.0


class ProviderError(Exception):
    """The simulated provider does not start, or has ended."""


class ProviderProcess:
    """``callbreaker simulate``, which ends with this process however that ends."""

    def __init__(self, *, port: int, webhook_url: str, secrets: Secrets, scenario: Path, log: Path) -> None:
        self._arguments = ("--port", str(port), "--webhook-url", webhook_url, "--scenario", str(scenario), "--json")
        self._environment = {
            "SIMULATOR_API_KEY": secrets.api_key,
            "SIMULATOR_WEBHOOK_SECRET": secrets.webhook_secret,
        }
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self.base_url = ""
        self._control_url = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Return when it answers. Raises ``ProviderError``."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(WRAPPER), str(os.getpid())),
                *(sys.executable, "-m", "consumer", "simulate", *self._arguments),
                env=os.environ | self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                said = await self._process.stdout.readline()
        if not said:
            raise ProviderError(f"The simulated provider does not start; its log is {self._log}.")
        places = orjson.loads(said)
        self.base_url, self._control_url = places["api"], places["control"]
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def stop(self) -> None:
        if self._http:
            await self._http.close()
        if self._process:
            await end(self._process, STOP_SECONDS)

    async def ended(self) -> None:
        """Wait for an end that nobody asked for, and raise ``ProviderError``."""
        assert self._process is not None
        code = await self._process.wait()
        raise ProviderError(f"The simulated provider has ended with exit code {code}; its log is {self._log}.")

    async def play(self, calls: int) -> str:
        """Start a campaign of so many calls; gives its id."""
        return str((await self._ask("POST", "campaigns", {"calls": calls, "register_per_second": 15}))["campaign_id"])

    async def expect(self, order: Mapping[str, Any]) -> None:
        """Tell the judge what is going to be ordered."""
        await self._ask("POST", "orders", order)

    async def first_dialled_since(self, campaign_id: str, moment: datetime) -> int:
        """Count the calls of a campaign that were dialled for the first time after ``moment``, and not again."""
        calls = (await self._ask("GET", f"calls?campaign_id={campaign_id}&limit=1000000"))["calls"]
        began = [datetime.fromisoformat(c["started_at"]) for c in calls if c["started_at"] and not c["attempt"]]
        return sum(one > moment for one in began)

    async def verdict(self) -> dict[str, Any]:
        return await self._ask("GET", "verdict")

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        assert self._http is not None
        try:
            async with self._http.request(method, f"{self._control_url}/{path}", json=body) as answer:
                value = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProviderError(
                f"The simulated provider does not answer ({error!r}); its log is {self._log}."
            ) from error
        if answer.status >= 300:
            raise ProviderError(f"The simulated provider refuses {method} {path}: {value}")
        return dict(value)
