"""Matches of rules that act only on several: each is a record in ``scope-totals``, where guard counts them per scope."""

from collections.abc import Sequence
from typing import Any

import msgspec

from consumer.model.events import Position
from consumer.model.identity import digest
from consumer.model.orders import Reach
from consumer.model.scopes import Scope
from consumer.model.stops import Stop
from consumer.model.throttles import Matches

_START = b'{"kind":"match"'


class Match(msgspec.Struct, frozen=True, tag_field="kind", tag="match"):
    """A rule was asked about an event, and matched or not. ``at`` is the broker's time, ``scope`` as ``Scope.as_dict``.

    ``campaign_id`` is that of the call, where the scope is this one call.
    """

    rule: str
    account: str
    scope: dict[str, Any]
    at: float
    event_id: str
    matched: bool = True
    reason: str = ""
    hold: float | None = None
    reach: str = Reach.KNOWN.value
    values: dict[str, Any] = {}
    position: Position | None = None
    campaign_id: str | None = None

    @property
    def scope_key(self) -> bytes:
        """What decides the partition: a rule's matches for one scope are counted in one place."""
        return f"{self.account}/match/{self.rule}/{self.scope_name}".encode()

    @property
    def key(self) -> bytes:
        return self.scope_key + b"/" + digest((self.event_id,), 10).encode()

    @property
    def scope_name(self) -> str:
        """The scope as a text that no other scope has."""
        return digest((msgspec.json.encode(self.scope, order="sorted").decode(),), 10)

    def stop(self) -> Stop:
        """What the rule wants stopped; raises ``ScopeError`` or ``RuleError`` where the record is not whole."""
        return Stop(Scope.parse(self.scope), self.reason, self.hold, Reach(self.reach), self.values)


encode_match = msgspec.json.Encoder().encode
decode_match = msgspec.json.Decoder(Match).decode
"""Read a record that ``is_match``; raises ``msgspec.DecodeError`` where it is none."""


def is_match(value: bytes) -> bool:
    """Whether a record of ``scope-totals`` is a match."""
    return value.startswith(_START)


def enough(throttle: Matches, told: Sequence[Match]) -> list[Match] | None:
    """Give the matches that are enough to act on, or None.

    Args:
        throttle: how many are enough.
        told: what the rule was asked about for a scope within ``throttle.within``, oldest first.

    """
    last = told[-throttle.of :] if throttle.of else told
    found = [match for match in last if match.matched]
    return found if len(found) >= throttle.count else None
