"""Reading providers' bodies: optional fields, numbers written as texts, and times in several forms.

What is absent is None. What is there but cannot be meant raises ``NotUnderstood`` naming the field, so that the body is
kept in ``rejected`` instead of being half understood.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.model.accounts import Account
from consumer.model.provider import NotUnderstood
from consumer.model.scopes import MAX_ID_BYTES, normalise_number
from consumer.model.status import Status

MAX_ATTEMPT = 1_000
MAX_TEXT_BYTES = 256
LONGEST_E164 = 16
MAX_NUMBER = 1e15
MILLISECONDS_FROM = 1e11
LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since the epoch."""
STATUSES = {status.value: status for status in Status}


def at_path(body: Mapping[str, Any], path: str) -> Any:
    """Follow a dotted path; None where it leads nowhere."""
    value: Any = body
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def mapped(
    account: Account, body: Mapping[str, Any], data: Mapping[str, Any], own_names: Mapping[str, str]
) -> Mapping[str, Any]:
    """Put what the account keeps elsewhere in its body under the names the provider itself would use.

    Args:
        account: its ``webhook.fields`` say where: our name of a field to a dotted path.
        body: the whole body, which the paths lead into.
        data: the part of the body that tells of the call; a path may also begin there, so that one path does for
            a provider's events and its envelope.
        own_names: our name of a field to the provider's, where they differ.

    """
    where = account.webhook.fields
    if not where:
        return data
    found = {
        own_names.get(name, name): value
        for name, path in where.items()
        for value in (at_path(data, path), at_path(body, path))
        if value is not None
    }
    return {**data, **found}


def identifier(value: Any, field: str) -> str | None:
    """Read an id: a text of 1 to 256 bytes, never a number, since it must go back exactly as it came."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise NotUnderstood(f"{field} is not a text")
    if len(value) * 4 > MAX_ID_BYTES and len(value.encode()) > MAX_ID_BYTES:
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
    if isinstance(value, str) and len(value) <= LONGEST_E164 and value[0] == "+" and value[1:].isdecimal():
        return value if value.isascii() else normalise_number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value.encode()) > MAX_TEXT_BYTES:
        raise NotUnderstood(f"{field} is not a phone number")
    return normalise_number(value)


def whole_number(value: Any, field: str) -> int | None:
    """Read a count from 0 to 1,000, also when it was sent as a text."""
    if type(value) is int and 0 <= value <= MAX_ATTEMPT:
        return value
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
    if not abs(number) <= MAX_NUMBER:
        raise NotUnderstood(f"{field} is not a number of a size that can be meant")
    return number


def timestamp(value: Any, field: str) -> float | None:
    """Read ISO 8601 (without a zone: UTC) or seconds or milliseconds since the epoch; gives seconds, from 1970 to 9999."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise NotUnderstood(f"{field} is not an ISO 8601 time") from error
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    else:
        number = decimal_number(value, field) or 0.0
        seconds = number / 1_000 if number > MILLISECONDS_FROM else number
    if not 0 <= seconds <= LAST_SECOND:
        raise NotUnderstood(f"{field} is not a time from 1970 to 9999")
    return seconds


def call_status(value: Any, field: str) -> Status | None:
    """Read one of the seven statuses; another one is not guessed at."""
    if value is None or value == "":
        return None
    status = STATUSES.get(str(value).lower())
    if status is None:
        raise NotUnderstood(f"{field} is {str(value)[:40]!r}, which is no documented status")
    return status


def mapping(value: Any) -> Mapping[str, Any]:
    """Take an object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}
