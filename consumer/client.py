"""A client of the operator API, for the command line and for programs.

ClientError
├── Unreachable   nobody answered: the service is not up, or this is not its address
├── Refused       the API said no; ``status``, ``title`` and ``field`` are those of its problem details (RFC 9457)
└── NotTheApi     somebody answered, but not the operator API
"""

import os
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

TIMEOUT_SECONDS = 20.0
REMEDIES = {401: " Set --token or CALLBREAKER_TOKEN.", 503: " Try again in a moment."}
OPTIONS = {"allow_live": " On the command line: --allow-live."}
LARGEST_PAGE = 500


class ClientError(Exception):
    """Root: the message is a whole paragraph that says what to do."""


class Unreachable(ClientError):
    """No answer."""


class NotTheApi(ClientError):
    """An answer that the operator API does not give."""


class Refused(ClientError):
    """The API's own no."""

    def __init__(self, status: int, title: str, detail: str, field: str | None = None) -> None:
        super().__init__(f"{title}: {detail} (HTTP {status})")
        self.status = status
        self.title = title
        self.field = field


class OperatorApi:
    """Use as an async context manager. ``url`` is the service's address without a path."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, *path: str, **query: str | int | None) -> dict[str, Any]:
        """Read; raises ``ClientError``."""
        return await self._ask("GET", path, {name: str(value) for name, value in query.items() if value is not None})

    async def post(self, *path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Change; raises ``ClientError``."""
        return await self._ask("POST", path, {}, body or {})

    async def put(self, *path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Set; raises ``ClientError``."""
        return await self._ask("PUT", path, {}, body)

    async def listed(self, *path: str, limit: int, **query: str | None) -> list[dict[str, Any]]:
        """Read the first ``limit`` items of a list, page by page; raises ``ClientError``."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(items) < limit:
            page = await self.get(*path, **query, cursor=cursor, limit=min(limit - len(items), LARGEST_PAGE))
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return items

    async def _ask(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        url = "/".join((self._url, "api/v1", *(quote(part, safe="") for part in path)))
        data = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, URL(url, encoded=True).update_query(query), data=data, headers=headers, allow_redirects=False
            ) as answer:
                return self._read(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = (
                os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error) or "timed out"
            )
            raise Unreachable(
                f"No answer from {self._url} ({reason}). Is `callbreaker run` up there? "
                "--url or CALLBREAKER_URL names another address."
            ) from error

    def _read(self, status: int, raw: bytes) -> dict[str, Any]:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict) or (status >= 300 and "title" not in value):
            raise NotTheApi(f"{self._url} answers with HTTP {status}, but not as the operator API does; check --url.")
        if status >= 300:
            remedy = REMEDIES.get(status) or OPTIONS.get(str(value.get("field")), "")
            detail = str(value.get("detail", "")) + ("." + remedy if remedy else "")
            raise Refused(status, str(value["title"]), detail, value.get("field"))
        return value
