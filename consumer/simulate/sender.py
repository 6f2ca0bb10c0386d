"""Webhooks on their way: bounded connections, the documented retries, and the faults that befall them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import aiohttp

from .dice import Dice
from .faults import FaultBoard, FaultKind
from .judge import Judge
from .scenario import Webhooks
from .signing import WebhookAuth, proof
from .timeline import Timeline


@dataclass(slots=True, eq=False)
class _Webhook:
    id: str
    body: bytes
    opt_out_of: str | None
    """The number whose opt-out this webhook tells."""
    attempts: int = 0


class WebhookSender:
    """`post` hands a webhook over, `run` delivers. A retry sends the same bytes again; only 200 counts as taken."""

    def __init__(  # noqa: PLR0913 - the parts it reports to, all needed
        self,
        url: str,
        auth: WebhookAuth,
        settings: Webhooks,
        *,
        timeline: Timeline,
        faults: FaultBoard,
        judge: Judge,
        dice: Dice,
        clock: Callable[[], float],
    ) -> None:
        self._url = url
        self._auth = auth
        self._settings = settings
        self._timeline = timeline
        self._faults = faults
        self._judge = judge
        self._dice = dice
        self._clock = clock
        self._queue: asyncio.Queue[_Webhook] = asyncio.Queue()
        self._numbers = count()
        self.waiting = 0
        """Webhooks neither accepted nor given up yet."""

    def post(self, body: bytes, now: float, *, opt_out_of: str | None = None) -> None:
        if self._faults.take({FaultKind.LOSE}, now):
            self._note(FaultKind.LOSE, "webhooks_lost")
            return
        number = next(self._numbers)
        webhook = _Webhook(self._dice.uuid("webhook", number), body, opt_out_of)
        self._enqueue_with_delay(webhook, self._delay(number, now), now)
        if repeat := self._faults.take({FaultKind.REPEAT}, now):
            self._note(FaultKind.REPEAT, "webhooks_repeated")
            for _ in range(repeat.times - 1):
                self._enqueue_with_delay(_Webhook(webhook.id, body, opt_out_of), self._delay(number, now), now)

    def _delay(self, number: int, now: float) -> float:
        if late := self._faults.take({FaultKind.LATE}, now):
            self._note(FaultKind.LATE)
            return late.delay_seconds
        if reorder := self._faults.take({FaultKind.REORDER}, now):
            self._note(FaultKind.REORDER)
            return reorder.delay_seconds * self._dice.share("reorder", number)
        return 0.0

    def _enqueue_with_delay(self, webhook: _Webhook, delay: float, now: float) -> None:
        self.waiting += 1
        self._judge.counts["webhooks_sent"] += 1
        if delay:
            self._timeline.at(now + delay, self._enqueue, webhook)
        else:
            self._enqueue(webhook, now)

    def _enqueue(self, webhook: _Webhook, _now: float) -> None:
        self._queue.put_nowait(webhook)

    def _note(self, kind: FaultKind, count_name: str | None = None) -> None:
        self._judge.faults[kind] += 1
        if count_name:
            self._judge.counts[count_name] += 1

    async def run(self) -> None:
        """Deliver until cancelled."""
        connections = self._settings.connections
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
        connector = aiohttp.TCPConnector(limit=connections)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(connections):
                group.create_task(self._deliver_for_ever(session))

    async def _deliver_for_ever(self, session: aiohttp.ClientSession) -> None:
        while True:
            webhook = await self._queue.get()
            webhook.attempts += 1
            self._judge.counts["webhook_attempts"] += 1
            if await self._deliver(session, webhook):
                self.waiting -= 1
                self._judge.counts["webhooks_accepted"] += 1
                if webhook.opt_out_of:
                    self._judge.opt_out_accepted(webhook.opt_out_of)
            elif webhook.attempts > len(self._settings.retry_seconds):
                self.waiting -= 1
                self._judge.counts["webhooks_given_up"] += 1
            else:
                delay = self._settings.retry_seconds[webhook.attempts - 1] * self._settings.retry_scale
                self._timeline.at(self._clock() + delay, self._enqueue, webhook)

    async def _deliver(self, session: aiohttp.ClientSession, webhook: _Webhook) -> bool:
        headers = {
            "Content-Type": "application/json",
            **proof(self._auth, webhook.body, webhook.id, self._clock()),
        }
        try:
            async with session.request(
                self._settings.method, self._url, data=webhook.body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
