"""Between HTTP and a played provider: the key, the judge, and the faults that replace an answer."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
from aiohttp import web

from .api import Answer, ApiRequest, Endpoint, ProviderApi
from .exchange import Exchange
from .faults import ANSWERS, Fault, FaultKind


class Gate:
    """Answers for one exchange and one provider; `closing` releases the requests that are never answered."""

    def __init__(
        self,
        exchange: Exchange,
        provider: ProviderApi,
        *,
        api_key: str,
        clock: Callable[[], float],
        closing: asyncio.Event,
    ) -> None:
        self._exchange = exchange
        self._provider = provider
        self._api_key = api_key
        self._clock = clock
        self._closing = closing

    async def answer(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        judge, faults = self._exchange.judge, self._exchange.faults
        now = self._clock()
        if not self._provider.authorized(request.headers, self._api_key):
            judge.counts["unauthorized"] += 1
            return _response(self._provider.error(401, "Invalid or missing API key"))
        over = judge.arrived(now, stops=endpoint.stops)
        if over and self._exchange.scenario.rate_limit.enforced:
            judge.answered(429, truthfully=True, stops=endpoint.stops)
            return _response(self._provider.error(429, "Rate limit exceeded"), {"Retry-After": "1"})
        slow = faults.take({FaultKind.SLOW}, now, stops=endpoint.stops)
        if slow:
            judge.faults[FaultKind.SLOW] += 1
        if slow and not slow.applied:
            await asyncio.sleep(slow.delay_seconds)
            now = self._clock()
        response = self._answer_now(endpoint, ApiRequest(body, request.match_info, request.query), now)
        if slow and slow.applied:
            await asyncio.sleep(slow.delay_seconds)
        return await response(request)

    def _answer_now(
        self, endpoint: Endpoint, request: ApiRequest, now: float
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        judge = self._exchange.judge
        fault = self._exchange.faults.take(ANSWERS, now, stops=endpoint.stops)
        if fault is None:
            answer = endpoint.answer(request, now)
            judge.answered(answer.status, truthfully=True, stops=endpoint.stops)
            return _respond(_response(answer))
        judge.faults[fault.kind] += 1
        # judged like any other, whether it has an effect or not
        self._exchange.effects = fault.applied
        try:
            endpoint.answer(request, now)
        finally:
            self._exchange.effects = True
        if fault.kind in {FaultKind.TIMEOUT, FaultKind.RESET}:
            judge.answered(None, truthfully=False, stops=endpoint.stops)
            return self._hang_up if fault.kind is FaultKind.RESET else self._never_answer
        false_answer = self._false_answer(fault)
        judge.answered(false_answer.status, truthfully=False, stops=endpoint.stops)
        return _respond(_response(false_answer, _retry_after(fault, now)))

    def _false_answer(self, fault: Fault) -> Answer:
        match fault.kind:
            case FaultKind.UNAUTHORIZED:
                return self._provider.error(401, "Invalid or missing API key")
            case FaultKind.FORBIDDEN:
                return self._provider.error(403, "Missing required permission")
            case FaultKind.THROTTLED:
                return self._provider.error(429, "Rate limit exceeded")
            case _:
                return self._provider.error(fault.status, "Server error occurred")

    async def _never_answer(self, request: web.Request) -> web.StreamResponse:
        # ends when the client hangs up (the handler is cancelled) or the simulator stops
        await self._closing.wait()
        return await self._hang_up(request)

    async def _hang_up(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)


def _respond(response: web.Response) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def respond(_request: web.Request) -> web.StreamResponse:
        return response

    return respond


def _response(answer: Answer, more_headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=answer.status,
        body=orjson.dumps(answer.body),
        headers=more_headers,
        content_type="application/json",
    )


def _retry_after(fault: Fault, now: float) -> dict[str, str]:
    if fault.retry_after == "none":
        return {}
    if fault.retry_after == "seconds":
        return {"Retry-After": f"{fault.delay_seconds:.0f}"}
    # whole seconds only (RFC 9110, 5.6.7): rounded up, so that it is never too early
    at = datetime.fromtimestamp(now + fault.delay_seconds, UTC) + timedelta(microseconds=999_999)
    return {"Retry-After": format_datetime(at, usegmt=True)}
