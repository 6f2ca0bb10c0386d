"""Parts of an expression that can be decided exactly without CEL: a field of the event or the call beside a literal.

Each gives a check of the whole event or call. The check is false only where CEL would say false, or where a null makes the
expression undecidable; what CEL might refuse (a text beside a number) is left to CEL.
"""

import operator
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

ROOT_PATH = r"(event|call)((?:\s*\.\s*[A-Za-z_]\w*)+)"
NUMBER = r"(-?\d+(?:\.\d+)?)"
TEXT = r"""("[^"\\]*"|'[^'\\]*')"""
COMPARED = re.compile(rf"{ROOT_PATH}\s*(<=|>=|<|>|==)\s*{NUMBER}")
EQUALS = re.compile(rf"{ROOT_PATH}\s*==\s*{TEXT}")
TRUE = re.compile(ROOT_PATH)
NOT_NULL = re.compile(rf"{ROOT_PATH}\s*!=\s*null")
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
EXACT_BELOW = 2**53
"""Whole numbers from here on are not the same as floats."""
OF_EVENT = frozenset({"attempt", "duration_seconds", "cost", "analysis", "args", "raw"})
OF_CALL = frozenset(
    {
        *("attempt", "attempts_finished", "episode", "first_at", "last_at", "connected", "terminable"),
        *("number", "campaign_id", "agent_id", "from_number", "call_id", "account", "provider"),
    }
)
"""Fields of whose values nothing but their type has to be known; the status is written as a text first."""

Get = Callable[[Any], Any]
Check = Callable[[Any], bool]


class Decided(NamedTuple):
    """What must hold for the whole expression to be true: a check of the event or of the call, as ``root`` says."""

    root: str
    check: Check


def decided(part: str) -> Decided | None:
    """Give the check that a part of an expression comes to; None where only CEL can say."""
    if (match := COMPARED.fullmatch(part)) and (get := _getter(match[1], match[2])):
        return Decided(
            match[1], _compares(get, OPERATORS[match[3]], float(match[4]) if "." in match[4] else int(match[4]))
        )
    if (match := EQUALS.fullmatch(part)) and (get := _getter(match[1], match[2])):
        return Decided(match[1], _is_text(get, match[3][1:-1]))
    if (match := NOT_NULL.fullmatch(part)) and (get := _getter(match[1], match[2])):
        return Decided(match[1], _not_null(get))
    if (match := TRUE.fullmatch(part)) and (get := _getter(match[1], match[2])):
        return Decided(match[1], _not_false(get))
    return None


def _getter(root: str, written: str) -> Get | None:
    first, *rest = re.split(r"\s*\.\s*", written.strip())[1:]
    if first not in (OF_EVENT if root == "event" else OF_CALL) or (rest and root == "call"):
        return None
    field = attrgetter(first)
    if not rest:
        return field
    if len(rest) == 1:
        name = rest[0]
        return lambda of: value.get(name) if type(value := field(of)) is dict else _content(value, name)

    def follow(of: Any) -> Any:
        value = field(of)
        for name in rest:
            value = _content(value, name)
        return value

    return follow


def _content(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _compares(get: Get, compare: Callable[[Any, Any], bool], literal: float) -> Check:
    def check(of: Any) -> bool:
        value = get(of)
        if value is None:
            return False
        kind = type(value)
        return (kind is not int and kind is not float) or abs(value) >= EXACT_BELOW or compare(value, literal)

    return check


def _is_text(get: Get, text: str) -> Check:
    def check(of: Any) -> bool:
        value = get(of)
        return value is not None and (type(value) is not str or value == text)

    return check


def _not_null(get: Get) -> Check:
    return lambda of: get(of) is not None


def _not_false(get: Get) -> Check:
    return lambda of: (value := get(of)) is not None and value is not False
