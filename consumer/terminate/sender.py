"""One request to a provider: out with a bound on every step, and whatever comes back as an ``Answer``.

A failure before the first byte left means nothing was sent; any later one means the effect is unknown. Redirects are
never followed: they would carry the key to another host.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import aiohttp

from consumer.model.provider import Answer, HttpRequest, HttpResponse
from consumer.model.terminations import AnswerClass

T = TypeVar("T")

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 15.0
MAX_ANSWER_BYTES = 128 * 1024
MAX_PAGE_BYTES = 16 * 1024 * 1024
"""Pages of a call history hold transcripts, and a campaign of Bland a row per number."""


class Sender:
    """A connection pool of one account."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
            trust_env=False,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(
        self, understand: Callable[[HttpResponse], Answer], request: HttpRequest
    ) -> tuple[Answer, int | None]:
        """Send; gives what the answer means and its HTTP status, None where there was none."""
        response = await self._exchange(request, MAX_ANSWER_BYTES)
        return (response, None) if isinstance(response, Answer) else (_read(understand, response), response.status)

    async def ask(self, request: HttpRequest, read: Callable[[HttpResponse], T]) -> T | Answer:
        """Send a request that changes nothing; gives what ``read`` makes of the response, or why there is none."""
        response = await self._exchange(request, MAX_PAGE_BYTES)
        return response if isinstance(response, Answer) else _read(read, response)

    async def _exchange(self, request: HttpRequest, at_most_bytes: int) -> HttpResponse | Answer:
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                data=request.body,
                allow_redirects=False,
            ) as response:
                body = await _beginning(response.content, at_most_bytes)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return HttpResponse(response.status, headers, body, time.time())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Answer(AnswerClass.NOT_SENT, f"no connection: {type(error).__name__}")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Answer(AnswerClass.UNKNOWN, f"no answer: {type(error).__name__}")


async def _beginning(content: aiohttp.StreamReader, at_most_bytes: int) -> bytes:
    """Read a body to its end, or as much of it as anybody looks at; it may come in pieces."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) >= at_most_bytes:
            break
    return bytes(body)


def _read(read: Callable[[HttpResponse], T], response: HttpResponse) -> T | Answer:
    """Let the provider's code read a response; what it cannot read may have had any effect."""
    try:
        return read(response)
    except Exception as error:
        logger.exception("an answer with HTTP status %d cannot be read", response.status)
        return Answer(AnswerClass.UNKNOWN, f"the answer cannot be read: {type(error).__name__}")
