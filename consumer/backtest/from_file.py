"""Events from a file, one JSON object a line: ``{"account": …, "body": {the webhook}, "at": time, "event_id": …}``.

``at`` (ISO 8601 or seconds since the epoch) is when the webhook came; without it, the provider's own time counts. Time
never runs backwards: a line that says so counts as of the time of the line before it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from consumer.model.accounts import Account
from consumer.model.events import CallEvent, Position
from consumer.model.identity import body_event_id
from consumer.model.provider import NotUnderstood, Provider

MOST_SHOWN = 5


class FileError(Exception):
    """A file that cannot be read as events; the message says in which line and why."""


@dataclass(slots=True)
class FileEvents:
    """The events of a file, in the order of its lines.

    ``account_of`` gives the account of a name, None where there is none. ``skipped`` counts the lines that no adapter
    understands, ``reasons`` are those of the first of them; ``bytes_read`` says how far it is.
    """

    path: Path
    account_of: Callable[[str], Account | None]
    providers: Mapping[str, Provider]
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    out_of_order: int = 0
    bytes_read: int = 0
    _latest: float = 0.0

    def __iter__(self) -> Iterator[CallEvent]:
        """Read on; raises ``FileError``."""
        try:
            with self.path.open("rb") as lines:
                for n, line in enumerate(lines, start=1):
                    self.bytes_read += len(line)
                    if line.strip():
                        yield from self._events(n, line)
        except OSError as error:
            raise FileError(f"{self.path} cannot be read: {error.strerror}") from error

    def _events(self, n: int, line: bytes) -> Iterator[CallEvent]:
        account, body, told = self._line(n, line)
        event_id = told.get("event_id") or body_event_id(account.name, orjson.dumps(body))
        try:
            events = self.providers[account.provider].read_webhook(account, body, str(event_id))
        except NotUnderstood as error:
            self.skipped += 1
            if len(self.reasons) < MOST_SHOWN:
                self.reasons.append(f"line {n}: {error}")
            return
        at = self._time(n, told.get("at"))
        for event in events:
            logged_at = at if at is not None else event.at if event.at is not None else self._latest
            self.out_of_order += logged_at < self._latest
            self._latest = max(self._latest, logged_at)
            yield event.replaced(logged_at=self._latest, position=Position(self.path.name, 0, n))

    def _line(self, n: int, line: bytes) -> tuple[Account, dict[str, Any], dict[str, Any]]:
        try:
            told = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self._wrong(n, f"is not JSON: {error}") from error
        if not isinstance(told, dict) or not isinstance(told.get("body"), dict):
            raise self._wrong(n, 'is not {"account": …, "body": {the webhook}}')
        if unknown := sorted(set(told) - {"account", "body", "at", "event_id"}):
            raise self._wrong(n, f"has {unknown[0]!r}, which is not one of account, body, at, event_id")
        name = told.get("account")
        account = self.account_of(name) if isinstance(name, str) else None
        if account is None:
            raise self._wrong(n, f"is of account {name!r}, which the configuration does not have; --provider names one")
        return account, told["body"], told

    def _time(self, n: int, at: Any) -> float | None:
        if at is None:
            return None
        seconds = as_seconds(at)
        if seconds is None:
            raise self._wrong(n, "has an `at` that is neither a time in ISO 8601 nor seconds since the epoch")
        return seconds

    def _wrong(self, n: int, what: str) -> FileError:
        return FileError(f"{self.path}, line {n}: it {what}")


def as_seconds(at: Any) -> float | None:
    """Read a time, ISO 8601 (UTC where it names no zone) or seconds since the epoch; None where it is neither."""
    if isinstance(at, bool):
        return None
    if isinstance(at, int | float):
        return float(at)
    try:
        moment = datetime.fromisoformat(at)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
