"""From raw bytes to records: authenticate, parse, normalise. No I/O, and no user's code before the durable write."""

import base64
import itertools
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import orjson

from consumer.ingest.authenticate import authenticate
from consumer.kafka.producer import FORMAT, Headers, OutRecord
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account, WebhookAuth
from consumer.model.codec import encode_event
from consumer.model.events import CallEvent
from consumer.model.identity import body_event_id, call_key
from consumer.model.provider import NotUnderstood, Provider

MAX_EVENT_ID = 200
MAX_REASON = 300
MAX_NESTING = 100
TRACEPARENT_LENGTH = 55
_PROCESS = secrets.token_hex(8).encode()
_TRACES = itertools.count(secrets.randbits(32) + 1)
"""Traces that begin here are named by this process and a running number: unlike a random name, that costs nothing."""


class Refusal(NamedTuple):
    """What the sender of an authentic webhook is told: the HTTP status and its title."""

    status: int
    title: str


NOT_JSON = Refusal(400, "not JSON")


class Taken(NamedTuple):
    """What a webhook becomes: its records, and whether they are events or a rejection.

    ``reason`` is None for events. ``refused`` is None unless the sender is told that what it sent is wrong.
    """

    event_id: str
    records: tuple[OutRecord, ...]
    reason: str | None = None
    refused: Refusal | None = None


class Takes(Protocol):
    """What takes in what comes for one account, or for one rule. ``name`` is that of the account or rule."""

    name: str

    @property
    def taken_status(self) -> int: ...
    @property
    def overload_status(self) -> int: ...

    def take(self, headers: Mapping[str, str], raw: bytes) -> Taken:
        """Read and authenticate one request; raises ``NotAuthentic``."""
        ...


class Intake:
    """Turns the webhooks of one account into records.

    ``taken_status`` answers what was taken, ``overload_status`` what must wait because too much is in flight.
    """

    taken_status: ClassVar[int] = 200
    overload_status: ClassVar[int] = 503

    def __init__(self, account: Account, provider: Provider, topics: Topics) -> None:
        self.account = account
        self.name = account.name
        self._provider = provider
        self._topics = topics

    def take(self, headers: Mapping[str, str], raw: bytes, now: float | None = None) -> Taken:
        """Take one webhook; ``now`` is in seconds since the epoch, None is the clock's.

        Raises:
            NotAuthentic: the sender did not prove who it is; nothing is kept.

        """
        authenticate(self.account.webhook.auth, headers, raw, now)
        return self.read(raw, self._name(headers, raw), headers.get("traceparent"))

    def _name(self, headers: Mapping[str, str], raw: bytes) -> str:
        """Name the event by ``webhook-id``, unless a body seen once could be sent again under another."""
        return event_name(self.account.webhook.auth, self.account.name, headers, raw)

    def read(self, raw: bytes, event_id: str, traceparent: str | None = None) -> Taken:
        """Read a body that is known to be authentic."""
        trace = trace_headers(traceparent)
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            return self._rejected(event_id, raw, f"not JSON: {error}", trace, NOT_JSON)
        if not isinstance(body, dict):
            return self._rejected(event_id, raw, "not a JSON object", trace)
        if raw.count(b"{") + raw.count(b"[") > MAX_NESTING and nested_deeper_than(MAX_NESTING, body):
            return self._rejected(event_id, raw, f"nested deeper than {MAX_NESTING}", trace)
        try:
            events = self._provider.read_webhook(self.account, body, event_id)
            only = raw if len(events) == 1 else None
            records = tuple([self._record(event, only, trace) for event in events])
        except NotUnderstood as error:
            return self._rejected(event_id, raw, str(error), trace)
        except (orjson.JSONEncodeError, RecursionError, UnicodeEncodeError) as error:
            return self._rejected(event_id, raw, f"cannot be written as a record: {error}", trace)
        return Taken(events[0].event_id, records)

    def _record(self, event: CallEvent, raw: bytes | None, trace: Headers) -> OutRecord:
        key = call_key(event.account, event.call_id)
        topic = self._topics.call_events
        return OutRecord(topic.name, topic.partition_of(key), key, encode_event(event, raw), trace)

    def _rejected(
        self, event_id: str, raw: bytes, reason: str, trace: Headers, refused: Refusal | None = None
    ) -> Taken:
        about = {"source": "webhook", "account": self.account.name, "event_id": event_id}
        record = rejection(self._topics, about, reason[:MAX_REASON], raw, trace)
        return Taken(event_id, (record,), reason, refused)


def event_name(auth: WebhookAuth, sender: str, headers: Mapping[str, str], raw: bytes) -> str:
    """Name an event by ``webhook-id``, else by its bytes; with a signature that covers no header, always by its bytes."""
    given = headers.get("webhook-id", "")
    usable = 0 < len(given) <= MAX_EVENT_ID and given.isascii() and given.isprintable()
    return given if usable and auth.type != "hmac-sha256" else body_event_id(sender, raw)


def rejection(topics: Topics, about: Mapping[str, Any], reason: str, raw: bytes, trace: Headers) -> OutRecord:
    """Make the record of ``rejected`` that keeps a body, whatever it is; ``about`` names its source and ``event_id``."""
    record: dict[str, Any] = {**about, "reason": reason}
    try:
        record["body"] = raw.decode()
    except UnicodeDecodeError:
        record["body_base64"] = base64.b64encode(raw).decode()
    topic = topics.rejected
    key = str(about.get("account") or about["source"]).encode()
    return OutRecord(topic.name, topic.partition_of(about["event_id"].encode()), key, orjson.dumps(record), trace)


def nested_deeper_than(limit: int, value: Any) -> bool:
    """Whether objects and lists stand more than ``limit`` deep in each other, so that not every reader could follow."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def trace_headers(traceparent: str | None) -> Headers:
    """Carry the sender's W3C traceparent on, or begin a trace."""
    if not traceparent or len(traceparent) != TRACEPARENT_LENGTH or not traceparent.isascii():
        count = next(_TRACES)
        return (*FORMAT, ("traceparent", b"00-%s%016x-%016x-01" % (_PROCESS, count, count)))
    return (*FORMAT, ("traceparent", traceparent.encode()))
