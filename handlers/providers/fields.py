"""Reading providers' bodies: optional fields, numbers written as texts, and times in several forms.

What is absent is None. What is there but cannot be meant raises ``NotUnderstood`` naming the field, so that the body is
kept in ``rejected`` instead of being half understood.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.model.provider import NotUnderstood
from consumer.model.scopes import MAX_ID_BYTES, normalise_number
from consumer.model.status import Status

MAX_ATTEMPT = 1_000
MAX_TEXT_BYTES = 256


def at_path(body: Mapping[str, Any], path: str) -> Any:
    """Follow a dotted path; None where it leads nowhere."""
    value: Any = body
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def identifier(value: Any, field: str) -> str | None:
    """Read an id: a text of 1 to 256 bytes, never a number, since it must go back exactly as it came."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise NotUnderstood(f"{field} is not a text")
    if len(value.encode()) > MAX_ID_BYTES:
        raise NotUnderstood(f"{field} is longer than {MAX_ID_BYTES} bytes")
    return value


def required_identifier(value: Any, field: str) -> str:
    found = identifier(value, field)
    if found is None:
        raise NotUnderstood(f"{field} is missing")
    return found


def phone_number(value: Any, field: str) -> str | None:
    """Read a phone number in the form it will be compared in."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value.encode()) > MAX_TEXT_BYTES:
        raise NotUnderstood(f"{field} is not a phone number")
    return normalise_number(value)


def whole_number(value: Any, field: str) -> int | None:
    """Read a count from 0 to 1,000, also when it was sent as a text."""
    number = decimal_number(value, field)
    if number is None:
        return None
    if number != int(number) or not 0 <= number <= MAX_ATTEMPT:
        raise NotUnderstood(f"{field} is not a whole number from 0 to {MAX_ATTEMPT}")
    return int(number)


def decimal_number(value: Any, field: str) -> float | None:
    """Read a number, also when it was sent as a text."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotUnderstood(f"{field} is not a number") from error
    if not math.isfinite(number):
        raise NotUnderstood(f"{field} is not a finite number")
    return number


def timestamp(value: Any, field: str) -> float | None:
    """Read ISO 8601 (without a zone: UTC) or seconds or milliseconds since the epoch; gives seconds."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise NotUnderstood(f"{field} is not an ISO 8601 time") from error
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = decimal_number(value, field)
    if number is None:
        return None
    return number / 1_000 if number > 1e11 else number


def call_status(value: Any, field: str) -> Status | None:
    """Read one of the seven statuses; another one is not guessed at."""
    if value is None or value == "":
        return None
    try:
        return Status(str(value).lower())
    except ValueError as error:
        raise NotUnderstood(f"{field} is {str(value)[:40]!r}, which is no documented status") from error


def mapping(value: Any) -> Mapping[str, Any]:
    """Take an object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}
