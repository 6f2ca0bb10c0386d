import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.kafka.service_stage import TOKENS, Stage, running, staged
from tests.patience import PATIENCE_SECONDS

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
WAIT_MS = PATIENCE_SECONDS * 1_000


@dataclass
class Watched:
    """A page; what its console complains of fails the test, but for what a test says is to be ``expected``."""

    page: Page
    expected: tuple[str, ...] = ()
    complaints: list[str] = field(default_factory=list)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(text in message.text for text in self.expected):
            self.complaints.append(message.text)


class OpenPage(Protocol):
    def __call__(
        self, url: str, *, role: str | None = "operator", width: int = 1280, scheme: Literal["light", "dark"] = "light"
    ) -> AbstractAsyncContextManager[Watched]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    if not os.access(CHROMIUM, os.X_OK):
        pytest.fail(f"{CHROMIUM} is missing; run scripts/ensure-chromium.sh")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def open_page(chromium: Browser) -> OpenPage:
    """Open the page in a context of its own; with a ``role`` it is signed in by the token in its address."""

    @asynccontextmanager
    async def opened(
        url: str, *, role: str | None = "operator", width: int = 1280, scheme: Literal["light", "dark"] = "light"
    ) -> AsyncIterator[Watched]:
        context = await chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(WAIT_MS)
        watched = Watched(await context.new_page())
        watched.page.on("console", watched.on_console)
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        try:
            await watched.page.goto(f"{url}/#token={TOKENS[role]}" if role else url)
            yield watched
        finally:
            await context.close()
        assert watched.complaints == []

    return opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A service that runs for all tests of a module which do not end it; each makes campaigns of its own."""
    async with (
        staged(kafka_servers, f"b{secrets.token_hex(4)}.", tmp_path_factory.mktemp("page")) as stage,
        running(stage.settings),
    ):
        yield stage
