"""What a provider is to the rest of the program: both directions of one vendor's API, without any I/O.

A provider reads webhooks into call events, builds the requests that stop calls, and says what the answers mean.
Everybody else asks its capability table and never its name.

    ProviderError
    ├── NotUnderstood     an authentic body that is no event this provider documents; kept in ``rejected``
    └── UnsafeRequest     a stop that must not be sent: no selector, several, empty, too many, or not offered
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumer.model.accounts import Account
from consumer.model.events import CallEvent
from consumer.model.scopes import ScopeKind
from consumer.model.terminations import AnswerClass


class ProviderError(Exception):
    """Root of what a provider refuses."""


class NotUnderstood(ProviderError):
    """An authentic webhook body that is no documented event."""


class UnsafeRequest(ProviderError):
    """A terminate request that must never leave."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it will go out; ``body`` is None where the API takes none."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back. Header names are lower case; ``received_at`` is in seconds since the epoch."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a response means, for the whole request. ``retry_after_seconds`` is what the provider asked for, if it did."""

    answer: AnswerClass
    detail: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BatchOfCallIds:
    """1 to ``limit`` different call ids of one account; it cannot be made otherwise."""

    call_ids: tuple[str, ...]

    @classmethod
    def of(cls, call_ids: Iterable[str], limit: int) -> "BatchOfCallIds":
        """Make a batch.

        Raises:
            UnsafeRequest: none, more than ``limit``, a repeated or an empty id.

        """
        ids = tuple(call_ids)
        if not 1 <= len(ids) <= limit:
            raise UnsafeRequest(f"a batch holds 1 to {limit} call ids, not {len(ids)}")
        if len(set(ids)) != len(ids) or not all(ids):
            raise UnsafeRequest("a batch holds different, non-empty call ids")
        return cls(ids)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's API can do; shown in ``GET /api/v1/accounts``.

    ``everything`` lists the scopes it can stop as a whole, ``spares_live_calls`` whether its stops leave connected
    calls alone, ``idempotent`` whether sending a stop twice is the same as once.
    """

    by_id: bool
    batch_limit: int
    everything: frozenset[ScopeKind]
    spares_live_calls: bool
    idempotent: bool
    history: bool
    per_id_answers: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "by_id": self.by_id,
            "batch_limit": self.batch_limit,
            "everything": sorted(self.everything),
            "spares_live_calls": self.spares_live_calls,
            "idempotent": self.idempotent,
            "history": self.history,
            "per_id_answers": self.per_id_answers,
        }


class Provider(Protocol):
    """One vendor. Implementations are stateless; an account is always an argument."""

    @property
    def name(self) -> str: ...

    @property
    def default_base_url(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def read_webhook(self, account: Account, body: Mapping[str, Any], event_id: str) -> tuple[CallEvent, ...]:
        """Read an authentic body; more than one event only where the body reports several calls.

        Raises:
            NotUnderstood: no documented event; the reason names the field.

        """
        ...

    def terminate(self, account: Account, batch: BatchOfCallIds) -> HttpRequest:
        """Build the request that stops these calls and nothing else.

        Raises:
            UnsafeRequest: the API cannot stop calls by id.

        """
        ...

    def understand(self, response: HttpResponse) -> Answer:
        """Say what the response to a terminate request means for the calls in it."""
        ...
