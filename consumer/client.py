"""A client of the operator API, for the command line and for programs. It blocks, and needs the standard library only.

ClientError
├── Unreachable   nobody answered: the service is not up, or this is not its address
├── Refused       the API said no; ``status``, ``title`` and ``field`` are those of its problem details (RFC 9457)
└── NotTheApi     somebody answered, but not the operator API
"""

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

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
    """Asks the API; each question is a connection of its own. ``url`` is the service's address without a path."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self.incomplete: str | None = None
        """Why answers so far say less than there is; None where they say all."""

    def get(self, *path: str, **query: str | int | None) -> dict[str, Any]:
        """Read; raises ``ClientError``."""
        return self._ask("GET", path, {name: str(value) for name, value in query.items() if value is not None})

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Change; raises ``ClientError``."""
        return self._ask("POST", path, {}, body or {})

    def put(self, *path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Set; raises ``ClientError``."""
        return self._ask("PUT", path, {}, body)

    def listed(self, *path: str, limit: int, **query: str | None) -> dict[str, Any]:
        """Read the first ``limit`` items of a list, page by page, as if it were one page; raises ``ClientError``."""
        page = self.get(*path, **query, limit=min(limit, LARGEST_PAGE))
        items: list[dict[str, Any]] = page["items"]
        while page["next_cursor"] is not None and len(items) < limit:
            page = self.get(*path, **query, cursor=page["next_cursor"], limit=min(limit - len(items), LARGEST_PAGE))
            items += page["items"]
        return {**page, "items": items}

    def _ask(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        target = "/".join((urlsplit(self._url).path, "api/v1", *(quote(part, safe="") for part in path)))
        headers = {"Authorization": f"Bearer {self._token}"} | ({} if body is None else _JSON)
        data = None if body is None else orjson.dumps(body)
        try:
            connection = _connection(self._url)
            try:
                connection.request(method, f"{target}?{urlencode(query)}" if query else target, data, headers)
                answer = connection.getresponse()
                return self._read(answer.status, answer.read())
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise Unreachable(
                f"No answer from {self._url} ({_reason(error)}). Is `callbreaker run` up there? "
                "--url or CALLBREAKER_URL names another address."
            ) from error
        except ValueError:
            raise ClientError(f"{self._url} or the token holds what none can hold; check --url and --token.") from None

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
        self.incomplete = value.get("incomplete") or self.incomplete
        return value


_JSON = {"Content-Type": "application/json"}


def _connection(url: str) -> HTTPConnection:
    """Prepare a connection; raises ``ValueError`` where the address has no usable port."""
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    return kind(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)


def _reason(error: OSError | HTTPException) -> str:
    """Say why nobody answered; an operating system's own words where there are any."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
