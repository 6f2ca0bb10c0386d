"""What a played provider consists of: endpoints that are plain functions, an error form, and its webhooks."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

import orjson

from .calls import Call, Campaign
from .dialler import Moment, Phase
from .exchange import Exchange


@dataclass(frozen=True, slots=True)
class ApiRequest:
    body: bytes
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def json_object(self) -> dict[str, Any] | None:
        """Read the body; None when it is not a JSON object."""
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None

    def number(self, name: str, default: int, most: int) -> int:
        """Read a query value between 0 and `most`; `default` when it is absent or no number."""
        text = self.query.get(name, "")
        return min(int(text), most) if text.isascii() and text.isdigit() else default


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str
    """Below the provider's base path, in aiohttp's form."""
    answer: Callable[[ApiRequest, float], Answer]
    stops: bool = False
    """Whether it asks for a stop: what faults and the judge's counts are about."""


class ProviderApi(Protocol):
    base_path: ClassVar[str]
    retries: ClassVar[bool]
    """Whether a call that is not answered is tried again under the same id."""
    object_ids: ClassVar[bool]
    """Whether campaigns have ids of 24 hexadecimal digits instead of UUIDs."""

    def __init__(self, exchange: Exchange) -> None: ...
    def endpoints(self) -> Sequence[Endpoint]: ...
    def authorized(self, headers: Mapping[str, str], api_key: str) -> bool: ...
    def error(self, status: int, message: str) -> Answer: ...
    def call_webhooks(self, moment: Moment, call: Call, now: float, /) -> Sequence[dict[str, Any]]: ...
    def campaign_webhooks(self, phase: Phase, campaign: Campaign, now: float, /) -> Sequence[dict[str, Any]]: ...


def is_secret(given: str | None, expected: str) -> bool:
    return hmac.compare_digest((given or "").encode(), expected.encode())


def registered_between(calls: list[Call], start: str | None, end: str | None) -> list[Call]:
    """Filter by ISO 8601 in UTC, whole or only its date; a bare date as the end means that whole day."""
    if start:
        calls = [call for call in calls if (iso(call.registered_at) or "") >= start]
    if end:
        calls = [call for call in calls if (iso(call.registered_at) or "")[: len(end)] <= end]
    return calls


def iso(seconds: float | None, *, zulu: bool = False) -> str | None:
    """ISO 8601 in UTC with microseconds, `+00:00` or `Z`."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z" if zulu else text
