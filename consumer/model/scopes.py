"""What a stop is aimed at, and the keys by which orders and calls find each other."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from consumer.model.calls import Call

MAX_IDS = 10_000
MAX_ID_BYTES = 256
NUMBERS_AT_ONCE = 100
"""Ringg: "Maximum of 100 mobile numbers allowed per request"; no provider takes more."""
A_FEW = 10
E164 = re.compile(r"\+[1-9]\d{6,14}")

Key = tuple[str, ...]


class ScopeKind(StrEnum):
    """The five things a stop can be aimed at, as rules and the command line name them."""

    CALL = "call"
    NUMBER = "number"
    CAMPAIGN = "campaign"
    AGENT = "agent"
    NUMBER_IN_CAMPAIGN = "number-in-campaign"


class ScopeError(ValueError):
    """A scope that names nothing, too much, or more than one thing. ``field`` says where."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def normalise_number(text: str) -> str:
    """Reduce a phone number to E.164: drop spaces, dashes, dots and brackets, turn a leading 00 into +."""
    compact = re.sub(r"[\s().\-]", "", text)
    return f"+{compact[2:]}" if compact.startswith("00") else compact


@dataclass(frozen=True, slots=True)
class Scope:
    """Exactly one of: calls by id, a campaign, an agent, numbers, or numbers within a campaign."""

    kind: ScopeKind
    call_ids: tuple[str, ...] = ()
    campaign_id: str | None = None
    agent_id: str | None = None
    mobile_numbers: tuple[str, ...] = ()

    @classmethod
    def calls(cls, call_ids: Iterable[str]) -> "Scope":
        return cls(ScopeKind.CALL, call_ids=_ids("call_ids", call_ids))

    @classmethod
    def campaign(cls, campaign_id: str) -> "Scope":
        return cls(ScopeKind.CAMPAIGN, campaign_id=_id("campaign_id", campaign_id))

    @classmethod
    def agent(cls, agent_id: str) -> "Scope":
        return cls(ScopeKind.AGENT, agent_id=_id("agent_id", agent_id))

    @classmethod
    def numbers(cls, numbers: Iterable[str]) -> "Scope":
        return cls(ScopeKind.NUMBER, mobile_numbers=_numbers(numbers))

    @classmethod
    def numbers_in_campaign(cls, campaign_id: str, numbers: Iterable[str]) -> "Scope":
        return cls(
            ScopeKind.NUMBER_IN_CAMPAIGN,
            campaign_id=_id("campaign_id", campaign_id),
            mobile_numbers=_numbers(numbers),
        )

    @classmethod
    def parse(cls, value: object) -> "Scope":
        """Read a scope as the operator API and the topics write it.

        Raises:
            ScopeError: nothing named, several things named, an unknown field, or a value that cannot be meant.

        """
        if not isinstance(value, Mapping):
            raise ScopeError("scope", 'must be an object such as {"campaign_id": "…"}')
        named = {key for key, content in value.items() if content not in (None, [], "")}
        unknown = set(value) - {"call_ids", "campaign_id", "agent_id", "mobile_numbers"}
        if unknown:
            raise ScopeError(
                f"scope.{min(unknown)}", "is not a scope; use call_ids, campaign_id, agent_id or mobile_numbers"
            )
        empty = set(value) - named
        if empty:
            raise ScopeError(f"scope.{min(empty)}", "is empty; a stop must say what it is aimed at")
        if named == {"call_ids"}:
            return cls.calls(_list("call_ids", value["call_ids"]))
        if named == {"campaign_id"}:
            return cls.campaign(value["campaign_id"])
        if named == {"agent_id"}:
            return cls.agent(value["agent_id"])
        if named == {"mobile_numbers"}:
            return cls.numbers(_list("mobile_numbers", value["mobile_numbers"]))
        if named == {"campaign_id", "mobile_numbers"}:
            return cls.numbers_in_campaign(value["campaign_id"], _list("mobile_numbers", value["mobile_numbers"]))
        raise ScopeError(
            "scope",
            "must name exactly one of call_ids, campaign_id, agent_id, mobile_numbers, or campaign_id with mobile_numbers",
        )

    def as_dict(self) -> dict[str, Any]:
        """Write the scope the way ``parse`` reads it."""
        fields: dict[str, Any] = {}
        if self.call_ids:
            fields["call_ids"] = list(self.call_ids)
        if self.campaign_id:
            fields["campaign_id"] = self.campaign_id
        if self.agent_id:
            fields["agent_id"] = self.agent_id
        if self.mobile_numbers:
            fields["mobile_numbers"] = list(self.mobile_numbers)
        return fields

    @property
    def is_broad(self) -> bool:
        """Whether many calls may be in it: a whole campaign or agent, or a long list."""
        whole = self.kind in {ScopeKind.CAMPAIGN, ScopeKind.AGENT}
        return whole or self.names_many

    @property
    def names_many(self) -> bool:
        """Whether it is a long list."""
        return len(self.call_ids) + len(self.mobile_numbers) > A_FEW

    def index_keys(self) -> tuple[Key, ...]:
        """The keys under which this scope is found by the calls it covers."""
        match self.kind:
            case ScopeKind.CALL:
                return tuple(("call", call_id) for call_id in self.call_ids)
            case ScopeKind.CAMPAIGN:
                return (("campaign", self.campaign_id or ""),)
            case ScopeKind.AGENT:
                return (("agent", self.agent_id or ""),)
            case ScopeKind.NUMBER:
                return tuple(("number", number) for number in self.mobile_numbers)
            case ScopeKind.NUMBER_IN_CAMPAIGN:
                return tuple(("number", number, self.campaign_id or "") for number in self.mobile_numbers)

    def covers(self, call: Call) -> bool:
        """Whether a call of its account is in it."""
        if self.mobile_numbers and call.number not in self.mobile_numbers:
            return False
        if self.call_ids:
            return call.call_id in self.call_ids
        if self.agent_id:
            return call.agent_id == self.agent_id
        return self.campaign_id is None or call.campaign_id == self.campaign_id


def call_keys(call: Call) -> tuple[Key, ...]:
    """The keys of every scope that covers this call."""
    keys: list[Key] = [("call", call.call_id)]
    if call.campaign_id:
        keys.append(("campaign", call.campaign_id))
    if call.agent_id:
        keys.append(("agent", call.agent_id))
    if call.number:
        keys.append(("number", call.number))
        if call.campaign_id:
            keys.append(("number", call.number, call.campaign_id))
    return tuple(keys)


def _list(field: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ScopeError(f"scope.{field}", "must be a list")
    return list(value)


def _id(field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ScopeError(f"scope.{field}", "must be a non-empty text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ScopeError(f"scope.{field}", "holds half a character (a lone surrogate)") from None
    if size > MAX_ID_BYTES:
        raise ScopeError(f"scope.{field}", f"is longer than {MAX_ID_BYTES} bytes")
    return value


def _ids(field: str, values: Iterable[object]) -> tuple[str, ...]:
    ids = tuple(dict.fromkeys(_id(field, value) for value in values))
    if not ids:
        raise ScopeError(f"scope.{field}", "is empty; a stop must say what it is aimed at")
    if len(ids) > MAX_IDS:
        raise ScopeError(f"scope.{field}", f"holds more than {MAX_IDS}; split the order")
    return ids


def _numbers(values: Iterable[object]) -> tuple[str, ...]:
    numbers = []
    for value in _ids("mobile_numbers", values):
        number = value if E164.fullmatch(value) else normalise_number(value)
        if not E164.fullmatch(number):
            raise ScopeError(
                "scope.mobile_numbers", "holds a number that is not E.164 (+ and country code, as +918882876897)"
            )
        numbers.append(number)
    return tuple(dict.fromkeys(numbers))
