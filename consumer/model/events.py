"""Call events: webhooks in one shape, whoever sent them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import orjson

from consumer.model.identity import call_name
from consumer.model.status import EventType, Status

if TYPE_CHECKING:
    Unread = Mapping[str, Any]
else:
    Unread = msgspec.Raw  # what a reader of records is told to leave as it is; ``decode_event`` makes a ``Body`` of it

NEVER = 0.0
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Position(NamedTuple):
    """Where a record stands in Kafka: the evidence of a decision."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


class Body(Mapping[str, Any]):
    """A webhook's body as its JSON text, parsed when somebody first looks into it: most folds never do."""

    __slots__ = ("_parsed", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._parsed: Mapping[str, Any] | None = None

    @property
    def parsed(self) -> Mapping[str, Any]:
        if self._parsed is None:
            self._parsed = orjson.loads(self.json)
        return self._parsed

    def __getitem__(self, name: str) -> Any:
        return self.parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parsed)

    def __len__(self) -> int:
        return len(self.parsed)

    def __repr__(self) -> str:
        return repr(self.parsed)


class CallEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One webhook (or history row), normalised. A struct, since thousands a second are made, written and read.

    ``status`` is what the event says of the call, None where it says nothing (a recording, an analysis).
    ``attempt`` counts from 0 and is None where the provider leaves it out. ``at`` is the provider's time and
    ``logged_at`` the broker's, both in seconds since the epoch; ``raw`` is the whole body.
    """

    account: str
    provider: str
    call_id: str
    event_id: str
    type: EventType
    status: Status | None = None
    attempt: Count | None = None
    campaign_id: str | None = None
    agent_id: str | None = None
    number: str | None = None
    from_number: str | None = None
    at: float | None = None
    duration_seconds: float | None = None
    cost: float | None = None
    connected: bool = False
    analysis: Mapping[str, Any] = {}
    source: str = "webhook"
    args: Mapping[str, Any] = {}
    raw: Unread = {}
    logged_at: float = NEVER
    position: Position | None = None

    @property
    def name(self) -> str:
        """The name of the call that the event is of."""
        return call_name(self.account, self.call_id)

    @property
    def offset(self) -> int | None:
        """Where the event stands in its partition, where that is known."""
        return self.position.offset if self.position else None

    def replaced(self, **changes: Any) -> "CallEvent":
        """Give the event with some fields changed."""
        return msgspec.structs.replace(self, **changes)
