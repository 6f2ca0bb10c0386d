"""Stop orders: who or which rule says stop, to what, why, how far, for how long and how seriously."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from consumer.model.events import Position
from consumer.model.identity import digest
from consumer.model.scopes import Scope

EMERGENCY, OPT_OUT, RULE = 0, 1, 2
"""Lanes of the dispatcher, in the order in which they leave."""


class Mode(StrEnum):
    """How seriously a decision is meant. Ordered: shadow, canary, enforce."""

    SHADOW = "shadow"
    CANARY = "canary"
    ENFORCE = "enforce"


class Reach(StrEnum):
    """Whether a stop also uses the provider's own scope-wide stop, for calls never seen in events."""

    KNOWN = "known"
    EVERYTHING = "everything"


class OrderState(StrEnum):
    """Where an order stands; derived from its facts and the time, never stored."""

    PROPOSED = "proposed"
    AWAITING_APPROVAL = "awaiting_approval"
    IN_FORCE = "in_force"
    RELEASED = "released"
    EXPIRED = "expired"
    REJECTED = "rejected"


class FactKind(StrEnum):
    """What can happen to an order after it was written. Each is a record of its own, so none overwrites another."""

    ADMITTED = "admitted"
    HELD = "held"
    APPROVED = "approved"
    REJECTED = "rejected"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Author:
    """Who says stop: an operator by name, or a rule by name, version and hash."""

    kind: str
    name: str
    version: str | None = None
    hash: str | None = None

    @property
    def is_operator(self) -> bool:
        return self.kind == "operator"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to an order. ``at`` is the broker's time in seconds."""

    order_id: str
    kind: FactKind
    by: Author
    reason: str
    at: float = 0.0
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StopOrder:
    """One order. ``hold`` is in seconds: 0.0 means once, None until released. ``at`` is the broker's time."""

    order_id: str
    account: str
    scope: Scope
    reason: str
    by: Author
    reach: Reach = Reach.KNOWN
    hold: float | None = 0.0
    mode: Mode = Mode.ENFORCE
    lane: int = RULE
    canary_share: float = 1.0
    canary_campaigns: tuple[str, ...] = ()
    allow_live: bool = False
    evidence: tuple[Position, ...] = ()
    explanation: dict[str, Any] | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order with what happened to it: the value that the order book holds."""

    order: StopOrder
    facts: tuple[Fact, ...] = ()
    decision_ttl: float = 900.0

    def fact(self, kind: FactKind) -> Fact | None:
        for fact in self.facts:
            if fact.kind is kind:
                return fact
        return None

    def with_fact(self, fact: Fact) -> "OrderRecord":
        """Add a fact; of two of a kind the earlier stays, in whatever order they are read."""
        known = self.fact(fact.kind)
        if known and known.at <= fact.at:
            return self
        others = [other for other in self.facts if other is not known]
        return replace(self, facts=tuple(sorted((*others, fact), key=lambda one: (one.at, one.kind))))

    @property
    def since(self) -> float | None:
        """The broker's time from which the order is in force; None while nobody has let it through."""
        if self.order.by.is_operator:
            return self.order.at
        approved = self.fact(FactKind.APPROVED)
        if approved:
            return approved.at
        admitted = self.fact(FactKind.ADMITTED)
        return admitted.at if admitted and not self.fact(FactKind.HELD) else None

    @property
    def until(self) -> float | None:
        """The broker's time at which it expires by itself; None for never.

        An order that holds once acts on the calls that wait when it comes into force. It stays in force for as long as
        those decisions may be acted on.
        """
        return self._until(self.since)

    def _until(self, since: float | None) -> float | None:
        hold = self.order.hold
        return None if since is None or hold is None else since + (hold or self.decision_ttl)

    def state(self, now: float) -> OrderState:
        """Derive where the order stands at ``now`` (seconds since the epoch)."""
        if self.fact(FactKind.RELEASED):
            return OrderState.RELEASED
        if self.fact(FactKind.REJECTED):
            return OrderState.REJECTED
        since = self.since
        if since is None:
            return OrderState.AWAITING_APPROVAL if self.fact(FactKind.HELD) else OrderState.PROPOSED
        until = self._until(since)
        return OrderState.EXPIRED if until is not None and now >= until else OrderState.IN_FORCE

    def in_force(self, now: float) -> bool:
        return self.state(now) is OrderState.IN_FORCE

    def applies(self, *, episode_since: float, now: float) -> bool:
        """Whether the order stops an episode that began at ``episode_since``, looked at at ``now``."""
        since = self.since
        if since is None or not self.in_force(now):
            return False
        return self.order.hold != 0.0 or episode_since <= since


def effective_mode(order: StopOrder, call_id: str, campaign_id: str | None) -> Mode:
    """Decide what an order means for one call: a canary enforces a fixed share of calls, or named campaigns."""
    if order.mode is not Mode.CANARY:
        return order.mode
    if order.canary_campaigns:
        chosen = campaign_id in order.canary_campaigns
    else:
        chosen = int(digest(("canary", call_id), 4), 16) < order.canary_share * 0x1_0000_0000
    return Mode.ENFORCE if chosen else Mode.SHADOW
