"""What a provider is to the rest of the program: both directions of one vendor's API, without any I/O.

A provider reads webhooks into call events, builds the requests that stop calls, and says what the answers mean.
Everybody else asks its capability table and never its name.

    ProviderError
    ├── NotUnderstood     an authentic body that is no event this provider documents; kept in ``rejected``
    └── UnsafeRequest     a stop that must not be sent: no selector, several, empty, too many, or not offered
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from consumer.model.accounts import Account
from consumer.model.events import CallEvent
from consumer.model.masking import MASK
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import Status
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
    """What a response means, for the whole request.

    ``retry_after_seconds`` is what the provider asked for, if it did; ``reported`` how many calls it says it stopped;
    ``trace_id`` the name it gave the request. ``more`` is kept in the record as it came.
    """

    answer: AnswerClass
    detail: str = ""
    retry_after_seconds: float | None = None
    reported: int | None = None
    trace_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Mask the provider's words: they go into the log, into alerts, and to people."""
        if self.detail:
            object.__setattr__(self, "detail", MASK.text(self.detail))


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
class WholeScope:
    """A provider's own stop of everything in a scope, calls never seen included: one request's worth of it."""

    scope: Scope

    @classmethod
    def requests_for(cls, scope: Scope, capabilities: "Capabilities") -> "tuple[WholeScope, ...]":
        """Cut a scope into requests; numbers go at most ``numbers_limit`` to one.

        Raises:
            UnsafeRequest: the provider cannot stop this kind of scope as a whole.

        """
        if scope.kind not in capabilities.everything:
            raise UnsafeRequest(f"the provider cannot stop a whole {scope.kind}")
        if not scope.mobile_numbers:
            return (cls(scope),)
        size = capabilities.numbers_limit
        numbers = scope.mobile_numbers
        return tuple(cls(replace(scope, mobile_numbers=numbers[n : n + size])) for n in range(0, len(numbers), size))


Selector = BatchOfCallIds | WholeScope


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's API can do; shown in ``GET /api/v1/accounts`` and in the docs.

    ``by_id`` and ``batch_limit``: calls can be stopped by id, so many to a request. ``look_before_stop``: the state of a
    call must be read right before its stop, which would else cut a live call. ``everything``: the scopes it can stop as a
    whole, ``everything_spares_live`` whether that leaves connected calls alone, ``scope_state`` whether the state of such
    a scope can be read. ``idempotent``: sending a stop twice is the same as once; where it is not, the scope's state is
    read before every further send. ``look_up``: one call's state can be read; ``history``: calls can be listed.
    ``webhooks``: it tells of calls by itself.
    """

    by_id: bool
    batch_limit: int
    everything: frozenset[ScopeKind]
    everything_spares_live: bool
    idempotent: bool
    history: bool
    look_up: bool = False
    look_before_stop: bool = False
    scope_state: bool = False
    webhooks: bool = True
    numbers_limit: int = 100
    per_id_answers: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Write the table as JSON shows it."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "everything": sorted(self.everything)}


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which calls to list: of a campaign, of an agent or to a number (None: any), in these statuses (empty: any)."""

    campaign_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    statuses: tuple[Status, ...] = ()
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of calls as events of source ``history``, ``at`` the time of the look; ``following`` if there is more.

    ``answer`` is ``accepted`` for a page that could be read, else what went wrong, with no events.
    """

    answer: Answer
    events: tuple[CallEvent, ...] = ()
    following: HistoryQuery | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a provider says of one call now: the event of source ``history``, or that there is no such call.

    ``answer`` is ``accepted`` where it said anything of the call, ``not_found`` where it does not know it.
    ``started`` says whether it has left the queue (rings or talks or is over); None where that cannot be told.
    """

    answer: Answer
    event: CallEvent | None = None
    started: bool | None = None


@dataclass(frozen=True, slots=True)
class ScopeState:
    """What a provider says of a whole scope now. ``stopped`` is None where it cannot be told."""

    answer: Answer
    stopped: bool | None = None


class Provider(Protocol):
    """One vendor. Implementations are stateless; an account is always an argument.

    What a capability denies raises ``UnsafeRequest``; ``BaseProvider`` in ``handlers.providers.base`` does that.
    """

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

    def terminate(self, account: Account, selector: Selector) -> HttpRequest:
        """Build the request that stops these calls, or this scope, and nothing else.

        Raises:
            UnsafeRequest: the API does not offer it.

        """
        ...

    def understand(self, response: HttpResponse) -> Answer:
        """Say what the response to a terminate request means for the calls in it."""
        ...

    def look_up(self, account: Account, call_id: str) -> HttpRequest:
        """Build the request that asks for one call."""
        ...

    def read_look_up(self, account: Account, call_id: str, response: HttpResponse) -> Look:
        """Read its answer."""
        ...

    def history(self, account: Account, query: HistoryQuery) -> HttpRequest:
        """Build the request that lists calls."""
        ...

    def read_history(self, account: Account, query: HistoryQuery, response: HttpResponse) -> HistoryPage:
        """Read its answer."""
        ...

    def scope_state(self, account: Account, whole: WholeScope) -> HttpRequest:
        """Build the request that asks for the state of a scope."""
        ...

    def read_scope_state(self, account: Account, whole: WholeScope, response: HttpResponse) -> ScopeState:
        """Read its answer."""
        ...
