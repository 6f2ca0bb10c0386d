"""The rules asked once more about the recorded events of one call: whether they matched, and what they saw. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consumer.console.shown import iso, position
from consumer.model.calls import Call
from consumer.model.controls import Controls
from consumer.model.durations import format_duration
from consumer.model.events import CallEvent
from consumer.model.explained import shown_all
from consumer.model.rules import EventRule, TotalsRule
from consumer.model.throttles import NO_THROTTLE, in_words

LAST = 10
"""So many answers of each rule are shown, the latest."""


def reask(rules: Iterable[object], steps: Sequence[tuple[CallEvent, Call]], controls: Controls) -> list[dict[str, Any]]:
    """Ask each rule as it is now about each event with the call as it stood then."""
    return [told for rule in rules if (told := _asked(rule, steps, controls)) is not None]


def _asked(rule: object, steps: Sequence[tuple[CallEvent, Call]], controls: Controls) -> dict[str, Any] | None:
    if isinstance(rule, TotalsRule):
        over = rule.over
        window = format_duration(over.seconds)
        note = f"it decides over what happened in a whole {over.scope} within {window}, not over single events"
        return {**_named(rule, controls), "asked": 0, "matched": 0, "answers": [], "note": note}
    if not isinstance(rule, EventRule):
        return None
    answers = [_answer(rule, event, call) for event, call in steps if event.type in rule.on]
    matched = sum(answer["matched"] for answer in answers)
    return {
        **_named(rule, controls),
        "asked": len(answers),
        "matched": matched,
        "answers": answers[-LAST:],
        "note": _note(rule, answers, matched),
    }


def _note(rule: EventRule, answers: Sequence[object], matched: int) -> str | None:
    if not answers:
        return f"it looks at {', '.join(sorted(rule.on))} events, and there was none"
    if matched and rule.throttle != NO_THROTTLE:
        return f"a match need not have become an order, for its throttle says: {in_words(rule.throttle)}"
    return None


def _named(rule: EventRule | TotalsRule, controls: Controls) -> dict[str, Any]:
    told = controls.mode_of(rule.name)
    mode = told.mode if told is not None and told.mode is not None else rule.mode
    return {
        "rule": rule.name,
        "version": rule.version,
        "hash": rule.hash,
        "mode": mode,
        "expression": rule.expression,
    }


def _answer(rule: EventRule, event: CallEvent, call: Call) -> dict[str, Any]:
    reason: str | None = None
    error: str | None = None
    values: Mapping[str, Any] = {}
    try:
        stop = rule.evaluate(event, call)
        if stop is not None:
            reason, values = stop.reason, stop.values
        if not values and rule.saw is not None:
            values = rule.saw(event, call)
    except (Exception, SystemExit) as raised:  # noqa: BLE001 -- people's code, as in asking the rules live
        error = f"{type(raised).__name__}: {raised}"[:500]
    return {
        "event_id": event.event_id,
        "type": event.type,
        "at": iso(event.logged_at),
        "evidence": position(event.position) if event.position else None,
        "matched": reason is not None,
        "reason": reason,
        "error": error,
        "values": shown_all(values),
    }
