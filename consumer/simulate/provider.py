"""The simulated provider as a whole: one HTTP server on loopback, one clock, one sender of webhooks."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from .api import ProviderApi
from .bland import Bland
from .calls import Call, Campaign
from .control import Control
from .dialler import Moment, Phase
from .exchange import Exchange
from .gate import Gate
from .judge import Verdict
from .ringg import Revenueable, Ringg
from .scenario import Scenario
from .sender import WebhookSender
from .signing import NoAuth, WebhookAuth
from .sonarly import Sonarly
from .vapi import Vapi

_HOST = "127.0.0.1"
_LONGEST_NAP_SECONDS = 0.02
_ACTIONS_IN_ONE_GO = 250

PROVIDERS: Mapping[str, type[ProviderApi]] = {
    "ringg": Ringg,
    "revenueable": Revenueable,
    "bland": Bland,
    "sonarly": Sonarly,
    "vapi": Vapi,
}


class PortTakenError(OSError):
    """None of the ports that were tried is free."""


class SimulatedProvider:
    """Plays `provider` by the `scenario`, sends its webhooks to `webhook_url` (None: sends none), and judges.

    Listens on loopback only, on `port` (0: any free one) or the next free of `ports_tried`.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        provider: str = "ringg",
        port: int = 8090,
        ports_tried: int = 1,
        webhook_url: str | None,
        webhook_auth: WebhookAuth | None = None,
        api_key: str,
    ) -> None:
        if provider not in PROVIDERS:
            raise ValueError(f"no simulated provider {provider!r}; there are {', '.join(PROVIDERS)}")
        self.scenario = scenario
        self._provider_type = PROVIDERS[provider]
        self._port = port
        self._ports_tried = ports_tried
        self._webhook_url = webhook_url
        self._webhook_auth = webhook_auth or NoAuth()
        self._api_key = api_key
        self._wall_minus_monotonic = time.time() - time.monotonic()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._work: asyncio.Task[None] | None = None
        self._set_up()

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        """In the form of the provider's documented base, e.g. `http://127.0.0.1:8090/ca/api/v0`."""
        return f"http://{_HOST}:{self._port}{self._provider_type.base_path}"

    @property
    def control_url(self) -> str:
        return f"http://{_HOST}:{self._port}/_simulator"

    @property
    def exchange(self) -> Exchange:
        return self._exchange

    def now(self) -> float:
        """Seconds since the epoch, never running backwards."""
        return self._wall_minus_monotonic + time.monotonic()

    def verdict(self) -> Verdict:
        waiting = self._sender.waiting if self._sender else 0
        return self._exchange.judge.verdict(webhooks_waiting=waiting)

    async def start(self) -> None:
        """Listen, then start the scenario's campaigns. Raises PortTakenError."""
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await self._listen(self._runner)
        except PortTakenError:
            await self._runner.cleanup()
            raise
        self._start_work(play=True)

    async def wait(self) -> None:
        """Until `stop`; raises what the clock or the sender died of."""
        while self._work is not None:
            work = self._work
            await asyncio.wait({work})
            if not work.cancelled():
                work.result()
            elif self._closing.is_set():
                return

    async def stop(self) -> None:
        self._closing.set()
        await self._stop_work()
        if self._runner:
            await self._runner.cleanup()

    async def reset(self, *, restart: bool) -> None:
        """Forget every call, webhook, order, fault and count; `restart` plays the scenario again."""
        await self._stop_work()
        self._set_up()
        self._start_work(play=restart)

    def on_call(self, moment: Moment, call: Call, now: float) -> None:
        if self._sender:
            opt_out_of = call.number if call.opted_out and moment in {Moment.ANALYSED, Moment.PROCESSED} else None
            for body in self._provider.call_webhooks(moment, call, now):
                self._sender.post(orjson.dumps(body), now, opt_out_of=opt_out_of)

    def on_campaign(self, phase: Phase, campaign: Campaign, now: float) -> None:
        if self._sender:
            for body in self._provider.campaign_webhooks(phase, campaign, now):
                self._sender.post(orjson.dumps(body), now)

    def _set_up(self) -> None:
        self._sender: WebhookSender | None = None
        self._exchange = exchange = Exchange(
            self.scenario,
            retries=self._provider_type.retries,
            object_ids=self._provider_type.object_ids,
            listener=self,
            may_register=self._may_register,
        )
        if self._webhook_url:
            self._sender = WebhookSender(
                self._webhook_url,
                self._webhook_auth,
                self.scenario.webhooks,
                timeline=exchange.timeline,
                faults=exchange.faults,
                judge=exchange.judge,
                dice=exchange.dice,
                clock=self.now,
            )
        self._provider = self._provider_type(exchange)
        self._endpoints = {(one.method, one.path): one for one in self._provider.endpoints()}
        self._gate = Gate(exchange, self._provider, api_key=self._api_key, clock=self.now, closing=self._closing)

    def _may_register(self) -> bool:
        return self._sender is None or self._sender.waiting < self.scenario.webhooks.backlog

    def _start_work(self, *, play: bool) -> None:
        now = self.now()
        if play:
            for fault in self.scenario.faults:
                self._exchange.faults.switch_on(fault, now)
            for plan in self.scenario.campaigns:
                self._exchange.start_campaign(plan, now)
        self._work = asyncio.create_task(self._run(), name="simulated-provider")

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_clock())
            if self._sender:
                group.create_task(self._sender.run())

    async def _run_clock(self) -> None:
        timeline = self._exchange.timeline
        while True:
            wait = timeline.run_due(self.now(), at_most=_ACTIONS_IN_ONE_GO)
            await asyncio.sleep(_LONGEST_NAP_SECONDS if wait is None else min(wait, _LONGEST_NAP_SECONDS))

    async def _stop_work(self) -> None:
        if self._work:
            self._work.cancel()
            # waits without raising: what it died of is for `wait` to tell
            await asyncio.wait({self._work})

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_routes(Control(self).routes())
        for endpoint in self._provider.endpoints():
            path = self._provider_type.base_path + endpoint.path
            app.router.add_route(endpoint.method, path, self._handler(endpoint.method, endpoint.path))
        app.router.add_route("*", "/{path:.*}", self._unknown_path)
        return app

    def _handler(self, method: str, path: str) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            # looked up each time: after a reset another exchange answers
            return await self._gate.answer(self._endpoints[method, path], request)

        return handle

    async def _unknown_path(self, request: web.Request) -> web.StreamResponse:
        self._exchange.judge.counts["unknown_paths"] += 1
        answer = self._provider.error(404, f"No endpoint {request.method} {request.path}")
        return web.json_response(answer.body, status=answer.status)

    async def _listen(self, runner: web.AppRunner) -> None:
        last: OSError | None = None
        for port in range(self._port, self._port + self._ports_tried):
            try:
                site = web.TCPSite(runner, _HOST, port)
                await site.start()
            except OSError as error:
                last = error
                continue
            self._port = runner.addresses[0][1]
            return
        raise PortTakenError(
            f"no free port on {_HOST} from {self._port} to {self._port + self._ports_tried - 1}; "
            "end what listens there or choose another port"
        ) from last
