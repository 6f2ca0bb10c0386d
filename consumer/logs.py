"""Logs: lines for people on a terminal, JSON lines for everybody else, and never a secret or a whole phone number."""

import logging
import os
import sys
import time
from collections.abc import Iterable
from typing import Final, TextIO

import orjson
import structlog
from pydantic import BaseModel, SecretStr
from structlog.typing import EventDict, WrappedLogger

from consumer.model.masking import MASK

__all__ = ["LEVELS", "LEVEL_VARIABLE", "MASK", "STARTING_SECONDS", "configure", "level_from_environment", "secrets_in"]

LEVEL_VARIABLE = "CALLBREAKER_LOG_LEVEL"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STARTING_SECONDS = 20.0
AGAIN_SECONDS = 30.0
_SAY_MUCH = ("aiokafka", "consumer.ingest", "consumer.kafka")
"""While a broker is away, the client says the same few things hundreds of times a second, ingest one a webhook."""
_REMEMBERED = 200
_NOISE = ("CoordinatorNotAvailable", "Marking the coordinator dead")


def _masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask every text of a line."""
    return {key: MASK.text(value) if isinstance(value, str) else value for key, value in event.items()}


def secrets_in(value: object) -> Iterable[str]:
    """Every ``SecretStr`` in a tree of settings."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for _, field in value:
            yield from secrets_in(field)
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from secrets_in(item)


class _StartNoise(logging.Filter):
    """Keeps back what the Kafka client calls errors while a broker that has just started finds its feet.

    The time runs from the first of them: a first start may need long before it has a broker at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._until = float("inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not any(noise in record.getMessage() for noise in _NOISE):
            return True
        self._until = min(self._until, time.monotonic() + STARTING_SECONDS)
        return time.monotonic() > self._until


class _Again(logging.Filter):
    """Lets the same complaint through every ``AGAIN_SECONDS``, with how often it was said meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.exc_info or not record.name.startswith(_SAY_MUCH):
            return True
        message, now = record.getMessage(), time.monotonic()
        said_at, more = self._said.get(message, (-AGAIN_SECONDS, 0))
        if now - said_at < AGAIN_SECONDS:
            self._said[message] = said_at, more + 1
            return False
        if more:
            record.msg, record.args = "%s (said %s times more since)", (message, f"{more:,}")
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[message] = now, 0
        return True


def level_from_environment() -> int:
    """Read CALLBREAKER_LOG_LEVEL; INFO where it is not set.

    Raises:
        ValueError: it is none of the levels.

    """
    name = os.environ.get(LEVEL_VARIABLE, "INFO").upper()
    if name not in LEVELS:
        raise ValueError(f"{LEVEL_VARIABLE} is none of the levels; write one of {', '.join(LEVELS)}")
    return logging.getLevelNamesMapping()[name]


def configure(level: int, stream: TextIO | None = None) -> None:
    """Send every logger of this process to ``stream`` (standard error), at ``level`` and above."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_for_people(stream) if stream.isatty() else _FOR_MACHINES)
    if level > logging.DEBUG:
        handler.addFilter(_Again())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    logging.getLogger("aiokafka").setLevel(max(level, logging.WARNING))
    for name in ("aiokafka.consumer.group_coordinator", "aiokafka.producer.transaction_manager"):
        logging.getLogger(name).filters = [_StartNoise()]


def _formatter(time_format: str, *last: structlog.typing.Processor, utc: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt=time_format, utc=utc, key="at"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _masked,
            *last,
        ],
    )


def _for_people(stream: TextIO) -> logging.Formatter:
    return _formatter("%H:%M:%S", _Line(colours=stream.isatty() and "NO_COLOR" not in os.environ), utc=False)


class _Line:
    """Renders ``02:54:05  warning  what happened``, and a trace below it."""

    _COLOURS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}

    def __init__(self, *, colours: bool) -> None:
        self._dim, self._reset = ("\x1b[2m", "\x1b[0m") if colours else ("", "")
        self._colours = self._COLOURS if colours else {}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        level = event["level"]
        colour = self._colours.get(level, self._dim if level == "debug" else "")
        trace = f"\n{event['exception']}" if "exception" in event else ""
        return f"{self._dim}{event['at']}{self._reset}  {colour}{level:7}  {event['event']}{self._reset}{trace}"


def _json(event: EventDict, **_: object) -> str:
    first = {name: event[name] for name in ("at", "level", "logger", "event") if name in event}
    return orjson.dumps({**first, **event}, default=str).decode()


_FOR_MACHINES = _formatter("iso", structlog.processors.JSONRenderer(serializer=_json), utc=True)
