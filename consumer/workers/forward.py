"""What a worker does with everything but webhooks: it asks the main process, so that all answer the same on one port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

OF_ONE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that are not forwarded: RFC 9110, section 7.6.1."""


@asynccontextmanager
async def forwarding(socket_path: str) -> AsyncIterator[Handler]:
    """Give the handler that has requests answered by whoever listens on a Unix socket, streams included."""
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(socket_path, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),  # a stream never ends
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            headers = _forwarded(request.headers)
            headers.popall("Content-Length", None)  # told anew
            asked = URL.build(
                scheme="http",
                host="main",
                path=request.rel_url.raw_path,
                query_string=request.rel_url.raw_query_string,
                encoded=True,
            )
            try:
                answering = await session.request(
                    request.method, asked, headers=headers, data=body or None, allow_redirects=False
                )
            except (aiohttp.ClientError, OSError, TimeoutError):
                return web.Response(status=503, headers={"Retry-After": "1"}, text="the main process does not answer")
            async with answering:
                response = web.StreamResponse(status=answering.status, headers=_forwarded(answering.headers))
                await response.prepare(request)
                async for chunk in answering.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response

        yield forward


def _forwarded(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in OF_ONE_CONNECTION)
