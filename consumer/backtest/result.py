"""The result of a backtest as plain JSON values, and the figures that expectations may name."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from consumer.backtest.expect import Figures, Verdict
from consumer.backtest.outcome import Ending
from consumer.backtest.tally import RuleTally, Tally
from consumer.model.orders import Mode

FIGURES = (
    "orders",
    "held",
    "stopped",
    "false_stops",
    "right_stops",
    "cancelled",
    "open",
    "saved_calls",
    "saved_attempts",
    "saved_minutes",
    "saved_cost",
    "failures",
)


class Named(NamedTuple):
    """Which rule it was that was tried."""

    name: str
    version: str
    hash: str
    mode: Mode
    not_tried: str | None = None
    """Why the rule had nothing to say, if it had not."""


class Read(NamedTuple):
    """What was read: events the rules were asked about, earlier ones, repetitions, calls, and what could not be read."""

    events: int
    warmed_up: int
    duplicates: int
    calls: int
    skipped: int
    reasons: tuple[str, ...]
    seconds: float


def figures(tally: RuleTally) -> dict[str, float]:
    """Give the figures of a rule by the names of ``FIGURES``."""
    ends = tally.endings
    values = (
        *(tally.orders, tally.held, tally.stopped),
        *(ends[Ending.WELL], ends[Ending.BADLY], ends[Ending.CANCELLED], ends[Ending.OPEN]),
        *(tally.saved_calls, tally.saved_attempts, round(tally.saved_seconds / 60, 3), round(tally.saved_cost, 6)),
        tally.failures,
    )
    return dict(zip(FIGURES, values, strict=True))


def all_figures(tally: Tally) -> dict[str, Figures]:
    """Give the figures of every rule under test by its name."""
    return {name: figures(one) for name, one in tally.rules.items()}


def result_of(read: Read, rules: Iterable[Named], tally: Tally, verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Write the whole result."""
    return {
        **read._asdict(),
        "rules": [_rule(named, tally.rules[named.name]) for named in rules],
        "expectations": [{"expect": one.expectation.text, "found": one.found, "met": one.met} for one in verdicts],
    }


def _rule(named: Named, tally: RuleTally) -> dict[str, Any]:
    return {
        "rule": named.name,
        "version": named.version,
        "hash": named.hash,
        "mode": named.mode,
        "not_tried": named.not_tried,
        **figures(tally),
        "stopped_in_canary": tally.in_canary if named.mode is Mode.CANARY else None,
        "first_at": _iso(tally.first_at),
        "last_at": _iso(tally.last_at),
        "by_day": _by_day(tally.orders_by_day, tally.stopped_by_day),
        "overlap": dict(sorted(tally.overlap.items())),
        "first_failure": tally.first_failure,
    }


def _by_day(orders: Mapping[str, int], stopped: Mapping[str, int]) -> dict[str, dict[str, int]]:
    return {day: {"orders": orders.get(day, 0), "stopped": stopped.get(day, 0)} for day in sorted({*orders, *stopped})}


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
