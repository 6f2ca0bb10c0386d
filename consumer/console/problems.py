"""Errors of the operator API as problem details (RFC 9457): what is wrong, with which field, and what to do."""

import logging
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from consumer.kafka.errors import LogError

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Answers hold phone numbers and change by the second: nobody between keeps them."""


class ProblemError(Exception):
    """An answer that is not the one asked for. ``more`` are extra members, such as the field that is wrong."""

    def __init__(self, status: int, title: str, detail: str, **more: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.more = more

    def response(self) -> web.Response:
        body = {"type": "about:blank", "title": self.title, "status": self.status, "detail": str(self), **self.more}
        response = web.Response(status=self.status, body=orjson.dumps(body), content_type="application/problem+json")
        response.headers.update(HEADERS)
        if self.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="callbreaker"'
        if self.status == 503:
            response.headers["Retry-After"] = "2"
        return response


def answering_problems(handler: Handler) -> Handler:
    """Turn what goes wrong in a handler into problem details; our own trouble is 503 and never a 4xx."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ProblemError as problem:
            return problem.response()
        except web.HTTPRequestEntityTooLarge:
            return ProblemError(413, "body too large", "split the order: a body holds at most 3 MiB").response()
        except (LogError, TimeoutError) as error:
            logger.warning("%s %s: %s", request.method, request.path, error)
            return ProblemError(503, "try again", f"Kafka does not answer in time: {error}").response()
        except web.HTTPException:
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return ProblemError(500, "our own mistake", "the log of the service says more").response()

    return answer


def json_response(value: object, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json", headers=HEADERS)
