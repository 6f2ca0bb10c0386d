"""The page at ``/`` and the stream that keeps it live."""

import asyncio
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp_sse import sse_response

from consumer.console.problems import answering_problems
from consumer.console.state import ConsoleState

PAGE = Path(__file__).with_name("page.html")
EVERY_SECONDS = 1.0


def page_routes(state: ConsoleState) -> list[web.RouteDef]:
    """Give the page and its stream. The page itself holds no data, so it needs no token."""

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    async def stream(request: web.Request) -> web.StreamResponse:
        state.operators.require(request, "viewer")
        async with sse_response(request) as response:
            while response.is_connected():
                await response.send(orjson.dumps(state.overview()).decode())
                await asyncio.sleep(EVERY_SECONDS)
        return response

    return [web.get("/", page), web.get("/api/v1/stream", answering_problems(stream))]
