"""What the page shows, live: one snapshot a second for all open pages together, sent when something has changed.

A snapshot is whole, so a page that reads slowly skips some and is never behind. A second without a change is a comment:
a page that hears nothing for a few seconds knows that its figures are stale.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from aiohttp import web

from consumer.console import shown, shown_controls
from consumer.console.order_shelf import OrderShelf
from consumer.console.problems import ProblemError
from consumer.console.state import ConsoleState
from consumer.model.accounts import Account
from consumer.model.orders import OrderRecord

EVERY_SECONDS = 1.0
WRITE_SECONDS = 5.0
MAX_PAGES = 100
RATE_SECONDS = 60
STILL_HERE = b": nothing has changed\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a buffering proxy would hold back what is to be seen now
}


class PerSecond:
    """How many more a counter shows with each reading, a second apart, over the last minute; nothing before the first."""

    def __init__(self) -> None:
        self._total: float | None = None
        self.counts = deque([0] * RATE_SECONDS, maxlen=RATE_SECONDS)

    def read(self, total: float) -> None:
        if self._total is not None:
            self.counts.append(max(0, round(total - self._total)))
        self._total = total


class Mailbox:
    """Room for one frame: a newer snapshot takes the place of one that has not been fetched."""

    def __init__(self) -> None:
        self._frame: bytes | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, frame: bytes) -> None:
        if frame is not STILL_HERE or self._frame is None:
            self._frame = frame
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def get(self) -> bytes | None:
        """Wait for a frame; None once the stream is over."""
        await self._changed.wait()
        self._changed.clear()
        frame, self._frame = self._frame, None
        return None if self._closed else frame or STILL_HERE


class Live:
    """The one producer of this process. ``run`` is a task of the service; when it ends, every page's stream ends."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state
        self._shelf = OrderShelf(state.feed.book)
        self._taken = PerSecond()
        self._mailboxes: set[Mailbox] = set()
        self._sent: dict[str, Any] = {}
        self._running = False

    async def run(self) -> None:
        self._running = True
        try:
            while True:
                self._tick()
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            self._running = False
            for mailbox in self._mailboxes:
                mailbox.close()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET: who asks, then snapshots as they change, as server-sent events."""
        operator = self._state.operators.require(request, "viewer")
        response = web.StreamResponse(headers=HEADERS)
        with self._page() as mailbox:
            try:
                await response.prepare(request)
                await _write(response, _event("hello", {"operator": operator.name, "role": operator.role}))
                while (frame := await mailbox.get()) is not None:
                    await _write(response, frame)
            except (ConnectionError, TimeoutError):
                return response  # the page is gone, or does not read: it comes again by itself
        return response

    @contextmanager
    def _page(self) -> Iterator[Mailbox]:
        if not self._running or len(self._mailboxes) >= MAX_PAGES:
            reason = f"{MAX_PAGES} pages are open here already" if self._running else "starting or shutting down"
            raise ProblemError(503, "try again", reason)
        mailbox = Mailbox()
        mailbox.put(_event("snapshot", self._snapshot(self._state.overview())))
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)

    def _snapshot(self, overview: dict[str, Any]) -> dict[str, Any]:
        """Everything the page shows, without a full phone number and without long lists of ids."""
        now = overview["now"]
        main, more = self._shelf.main(now)
        return {
            **overview,
            "webhooks_per_second": list(self._taken.counts) if overview["webhooks"] is not None else None,
            "accounts": [self._account(account) for account in self._state.accounts.values()],
            "orders": [self._order(record, now) for record in main],
            "more_orders_standing": more,
            "single_orders": [self._order(record, now) for record in self._shelf.single()],
            "orders_in_all": len(self._state.feed.book),
            **self._controls(),
        }

    def _controls(self) -> dict[str, Any]:
        feed = self._state.feed
        return {
            "lever": shown_controls.lever(feed.controls.lever),
            "rules": shown_controls.rules(
                self._state.rules(), feed.controls, feed.book.tallies(), self._state.figures.failures
            ),
            "rules_file": shown_controls.rules_file(feed.controls),
            "alerts": shown_controls.alerts(feed.controls),
        }

    def _account(self, account: Account) -> dict[str, Any]:
        capabilities = self._state.providers[account.provider].capabilities
        return shown.account(account, capabilities, self._state.figures.account(account.name))

    def _order(self, record: OrderRecord, now: float) -> dict[str, Any]:
        return shown.order_row(record, self._state.ledger.ledger.counts(record.order.order_id), now)

    def _tick(self) -> None:
        webhooks = self._state.webhooks()
        if webhooks is not None:
            self._taken.read(webhooks)
        if not self._mailboxes:
            return
        snapshot = self._snapshot(self._state.overview())
        frame = STILL_HERE if snapshot | {"now": 0} == self._sent else _event("snapshot", snapshot)
        self._sent = snapshot | {"now": 0}
        for mailbox in self._mailboxes:
            mailbox.put(frame)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


async def _write(response: web.StreamResponse, frame: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(frame)
