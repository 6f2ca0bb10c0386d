"""Posting notices: by the owner of partition 0 of ``scope-totals``, beside everything else and never in its way.

What was told is kept in that partition's view, so that a restart does not tell it again; whoever takes the partition over
without that view tells what is loud then once more.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from consumer.guard import metrics
from consumer.guard.notices import Notice, Outbox, notices
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.view import View
from consumer.model.controls import Controls

logger = logging.getLogger(__name__)

SCHEMA = "CREATE TABLE IF NOT EXISTS told (name TEXT PRIMARY KEY) WITHOUT ROWID;\n"
EVERY_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
AT_ONCE = 20
MOST_WAITING = 200


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where notices go: ``shown`` is the address without its secrets, ``headers`` prove who we are."""

    url: str
    shown: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    within_seconds: float = 600.0


class KnownControls(Protocol):
    """Where the controls and orders are found: an ``OrderFeed``."""

    @property
    def ready(self) -> bool: ...
    @property
    def controls(self) -> Controls: ...
    @property
    def book(self) -> StoredOrderBook: ...


class Notifier:
    """Tells one receiver. ``own_view`` gives the view of partition 0 while it is held here, else None."""

    def __init__(self, receiver: Receiver, feed: KnownControls, own_view: Callable[[], View | None]) -> None:
        self._receiver = receiver
        self._feed = feed
        self._own_view = own_view
        self._view: View | None = None
        self._outbox = Outbox(receiver.within_seconds)

    async def run(self) -> None:
        """Tell until cancelled; whatever the receiver does, this goes on."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._receiver.headers) as session:
            while True:
                await self._tell(session)
                await asyncio.sleep(EVERY_SECONDS)

    async def _tell(self, session: aiohttp.ClientSession) -> None:
        """Post what is due, one after the other, a bounded number of them."""
        view = self._own_view()
        if view is None or not self._feed.ready:
            self._view = None
            return
        if view is not self._view:
            self._view = view
            told = {name for (name,) in view.connection.execute("SELECT name FROM told")}
            self._outbox = Outbox(self._receiver.within_seconds, told)
        loud = list(notices(self._feed.controls, self._feed.book.awaiting_approval(limit=MOST_WAITING)))
        self._forget(view, self._outbox.over(loud))
        for notice in self._outbox.due(loud, time.monotonic())[:AT_ONCE]:
            refused = await self._post(session, notice)
            if self._own_view() is not view:
                return
            if refused is None:
                metrics.NOTICES.labels("delivered").inc()
                self._done(view, notice)
            elif self._outbox.failed(notice, time.monotonic()):
                metrics.NOTICES.labels("given up").inc()
                logger.error("a notice is given up, %s does not take it: %s", self._receiver.shown, refused)
                self._done(view, notice)
            else:
                metrics.NOTICES.labels("failed").inc()
                logger.warning("a notice is tried again, %s does not take it: %s", self._receiver.shown, refused)

    async def _post(self, session: aiohttp.ClientSession, notice: Notice) -> str | None:
        """Post one notice; gives why it was not taken. A redirect is not followed, least of all with a secret."""
        try:
            async with session.post(self._receiver.url, json=notice.body, allow_redirects=False) as answer:
                return None if answer.status < 300 else f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__

    def _done(self, view: View, notice: Notice) -> None:
        self._outbox.told.add(notice.name)
        with view.transaction({}) as connection:
            connection.execute("INSERT OR REPLACE INTO told VALUES (?)", (notice.name,))

    def _forget(self, view: View, names: set[str]) -> None:
        if names:
            self._outbox.told -= names
            with view.transaction({}) as connection:
                connection.executemany("DELETE FROM told WHERE name = ?", [(name,) for name in names])
