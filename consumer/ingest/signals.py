"""Signals: somebody outside says what a rule is to stop, ``{"account", "scope", "reason"}``, at ``POST /signals/{rule}``.

A signal is taken as a webhook is, with a proof of its own. It becomes a match of its rule, which guard turns into an order:
so it goes through the rule's throttle, its mode and the limits. The same signal twice is one order.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, NamedTuple

import orjson

from consumer.ingest.authenticate import authenticate
from consumer.ingest.intake import MAX_REASON, NOT_JSON, Refusal, Taken, event_name, rejection, trace_headers
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.model.accounts import WebhookAuth
from consumer.model.matches import Match, encode_match
from consumer.model.scopes import Scope, ScopeError
from consumer.model.stops import DEFAULT_HOLD, Aim

KEYS = ("account", "scope", "reason")
NO_SIGNAL = Refusal(400, "not a signal")
NO_ACCOUNT = Refusal(404, "no such account")


class Signalled(NamedTuple):
    """A rule that signals reach: how their senders prove who they are, and what alone may be stopped, if that is told."""

    rule: str
    auth: WebhookAuth
    aim: Aim | None = None


class _NotASignal(ValueError):
    """What is wrong with a body, and what its sender is told."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


class SignalIntake:
    """Turns the signals for one rule into records."""

    taken_status: ClassVar[int] = 200
    overload_status: ClassVar[int] = 503

    def __init__(self, signalled: Signalled, accounts: Collection[str], topics: Topics) -> None:
        self.name = f"signals/{signalled.rule}"
        self._signalled = signalled
        self._accounts = frozenset(accounts)
        self._topics = topics

    def take(self, headers: Mapping[str, str], raw: bytes, now: float | None = None) -> Taken:
        """Take one signal; ``now`` is in seconds since the epoch, None is the clock's.

        Raises:
            NotAuthentic: the sender did not prove who it is; nothing is kept.

        """
        authenticate(self._signalled.auth, headers, raw, now)
        event_id = event_name(self._signalled.auth, self.name, headers, raw)
        trace = trace_headers(headers.get("traceparent"))
        try:
            match = self._match(raw, event_id, time.time() if now is None else now)
        except _NotASignal as error:
            about = {"source": "signal", "rule": self._signalled.rule, "event_id": event_id}
            record = rejection(self._topics, about, str(error)[:MAX_REASON], raw, trace)
            return Taken(event_id, (record,), str(error)[:MAX_REASON], error.refusal)
        topic = self._topics.scope_totals
        partition = topic.partition_of(match.scope_key)
        return Taken(event_id, (OutRecord(topic.name, partition, match.key, encode_match(match), trace),))

    def _match(self, raw: bytes, event_id: str, now: float) -> Match:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise _NotASignal(NOT_JSON, f"not JSON: {error}") from error
        account, scope, reason = self._read(body)
        aim = self._signalled.aim
        hold = aim.hold if aim else DEFAULT_HOLD[scope.kind]
        told: dict[str, Any] = {"reach": aim.reach.value} if aim else {}
        values = {"signal": event_id}
        rule = self._signalled.rule
        return Match(rule, account, scope.as_dict(), now, event_id, reason=reason, hold=hold, values=values, **told)

    def _read(self, body: object) -> tuple[str, Scope, str]:
        if not isinstance(body, dict) or set(body) != set(KEYS):
            raise _NotASignal(NO_SIGNAL, 'a signal is an object of exactly "account", "scope" and "reason"')
        account, reason = body["account"], body["reason"]
        if not isinstance(reason, str) or not reason.strip():
            raise _NotASignal(NO_SIGNAL, "reason: must say in words why")
        if not isinstance(account, str) or account not in self._accounts:
            raise _NotASignal(NO_ACCOUNT, "account: is none of the configuration")
        try:
            scope = Scope.parse(body["scope"])
        except ScopeError as error:
            raise _NotASignal(NO_SIGNAL, str(error)) from error
        aim = self._signalled.aim
        if aim is not None and scope.kind is not aim.scope:
            raise _NotASignal(NO_SIGNAL, f"scope: this rule stops {aim.scope} only")
        return account, scope, reason[:MAX_REASON]
