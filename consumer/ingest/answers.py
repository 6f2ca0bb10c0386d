"""What the sender of a webhook is told."""

import random
import time
from email.utils import formatdate
from functools import lru_cache

import orjson
from aiohttp import HttpVersion11, web

_HEADS = {
    200: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
    202: b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n",
}


class Acknowledgement(web.StreamResponse):
    """An answer whose head and body are ready bytes, for a sender of HTTP/1.1 that keeps its connection, as most do.

    Putting the same few headers together anew costs as much as all else about an answer. Nothing on the way may want to
    change them: the application's ``on_response_prepare`` is not sent.
    """

    keep_alive = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status=status)
        date = _date(int(time.time()))
        self._whole = b"%bDate: %b\r\nContent-Length: %d\r\n\r\n%b" % (_HEADS[status], date, len(body), body)

    async def prepare(self, request: web.BaseRequest) -> None:
        await request.writer.write_eof(self._whole)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""


def acknowledge(request: web.BaseRequest, status: int, event_id: str) -> web.StreamResponse:
    """Say, with 200 or 202, that the event is durable."""
    body = orjson.dumps({"event_id": event_id})
    if request.keep_alive and request.version == HttpVersion11:
        return Acknowledgement(status, body)
    return web.Response(status=status, body=body, content_type="application/json")


def problem(status: int, title: str, detail: str, **more: str) -> web.Response:
    """Answer with a problem of RFC 9457."""
    body = orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **more})
    return web.Response(status=status, body=body, content_type="application/problem+json")


def no_such_account() -> web.Response:
    return problem(404, "no such account", "the last part of the path is an account of the configuration")


def unavailable(reason: str, status: int = 503) -> web.Response:
    """Ask the sender to come again, at a time that others are not told."""
    response = problem(status, "try again", reason)
    response.headers["Retry-After"] = str(random.randint(1, 5))  # noqa: S311 -- jitter, not a secret
    return response


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    """Write a time, in seconds since the epoch, as the header ``Date`` has it (RFC 9110, section 5.6.7)."""
    return formatdate(now, usegmt=True).encode()
