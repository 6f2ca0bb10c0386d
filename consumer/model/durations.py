"""Durations, holds and sizes as people write them: ``90s``, ``1h30m``, ``until-released``, ``256KiB``."""

import re
from typing import Annotated, Any

from annotated_types import Gt
from pydantic import BeforeValidator, PlainSerializer

from consumer.model.refusals import RefusedError

UNTIL_RELEASED = "until-released"

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}  # in milliseconds, largest first
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?){unit})?" for unit in _UNITS))
_LONGEST_SECONDS = 3650 * 86_400.0
_WRITE_A_DURATION = "write numbers with units, largest first, such as 50ms, 90s, 10m, 1h30m or 30d"

_SIZES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}
_SIZE = re.compile(r"([0-9]{1,12}) ?(B|KiB|MiB|GiB)")


def parse_duration(text: str | float) -> float:
    """Seconds of ``50ms``, ``90s``, ``10m``, ``24h``, ``30d``, ``1h30m`` or ``0``; at most 3650 days.

    A number without a unit says neither seconds nor milliseconds: raises ``RefusedError``, as for anything else.
    """
    if text in (0, "0") and not isinstance(text, bool):
        return 0.0
    if isinstance(text, int | float) or re.fullmatch(r"[0-9.]+", text):
        raise RefusedError("a duration needs a unit", _WRITE_A_DURATION)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise RefusedError("this is not a duration", _WRITE_A_DURATION)
    parts = zip(match.groups(), _UNITS.values(), strict=True)
    seconds = sum(float(number) * milliseconds for number, milliseconds in parts if number) / 1000
    if seconds > _LONGEST_SECONDS:
        raise RefusedError(
            "this duration is longer than 3650d", f"write a shorter one, or {UNTIL_RELEASED} where it may be"
        )
    return seconds


def format_duration(seconds: float) -> str:
    """``5400.0`` → ``1h30m``, to the millisecond; what ``parse_duration`` reads, but for a leading minus."""
    left = round(abs(seconds) * 1000)
    parts = []
    for unit, milliseconds in _UNITS.items():
        count, left = divmod(left, milliseconds)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if seconds < 0 and parts else "") + ("".join(parts) or "0s")


def parse_hold(text: str | float) -> float | None:
    """How long a stop order stays in force, in seconds: ``0.0`` is once, ``None`` is until it is released."""
    return None if text == UNTIL_RELEASED else parse_duration(text)


def format_hold(hold: float | None) -> str:
    """``None`` → ``until-released``, ``0.0`` → ``0`` (once), else a duration: what ``parse_hold`` reads."""
    if hold is None:
        return UNTIL_RELEASED
    return format_duration(hold) if hold else "0"


def parse_size(text: str | int) -> int:
    """Bytes of ``512B``, ``256KiB``, ``1MiB`` or a whole number of bytes; raises ``RefusedError`` for anything else."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise RefusedError("this is not a size", "write a whole number with B, KiB, MiB or GiB, such as 256KiB")
    return int(match[1]) * _SIZES[match[2]]


def format_size(size_bytes: int) -> str:
    """``262144`` → ``256KiB``: the largest unit that divides it."""
    unit, factor = next((unit, factor) for unit, factor in _SIZES.items() if size_bytes % factor == 0)
    return f"{size_bytes // factor}{unit}"


def _duration(value: Any) -> float:
    return parse_duration(_scalar(value, "duration", _WRITE_A_DURATION))


def _hold(value: Any) -> float | None:
    return parse_hold(_scalar(value, "hold", f"{_WRITE_A_DURATION}; 0 is once; or {UNTIL_RELEASED}"))


def _scalar(value: Any, kind: str, remedy: str) -> str | float:
    if not isinstance(value, str | int | float):
        raise RefusedError(f"this is not a {kind}", remedy)
    return value


_AS_TEXT = PlainSerializer(format_duration, when_used="json")

Duration = Annotated[float, BeforeValidator(_duration), _AS_TEXT]
"""Seconds; written with a unit, in Python too."""

PositiveDuration = Annotated[float, Gt(0), BeforeValidator(_duration), _AS_TEXT]
"""Seconds, more than none."""

HoldSeconds = Annotated[float | None, BeforeValidator(_hold), PlainSerializer(format_hold, when_used="json")]
"""Seconds; ``0.0`` is once and ``None`` until released. Written as ``parse_hold`` takes it, in Python too."""

Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, when_used="json")]
"""Bytes."""
