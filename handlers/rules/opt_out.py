"""``opt_out``: the person said "never call me again", so every waiting call to that number is stopped.

It looks at the analysis of a call, under the names that agents commonly give the finding, and believes it when it is
true, "true", "yes" or 1; a status, outcome or disposition there may also say it in words. The stop holds for 30 days, so
a call that registers later is stopped too.
"""

import re
from dataclasses import replace
from typing import Any

from consumer.model import Call, CallEvent, Stop, rule

SAYING = ("status", "outcome", "call_outcome", "disposition", "result", "classification")
FINDINGS = ("opt_out", "opted_out", "do_not_call", "dnc", "unsubscribe", "never_call_again")
WHERE_TO_LOOK = (*FINDINGS, *SAYING)
PLACES = frozenset(WHERE_TO_LOOK)


@rule(on="analysis", version="2")
def opt_out(event: CallEvent, call: Call) -> Stop | None:
    """Stop a number whose owner asked not to be called."""
    told = _told(event)
    if not told or call.number is None:
        return None
    found = min(told, key=WHERE_TO_LOOK.index)
    stop = Stop.number(call.number, reason=f"the person asked not to be called again (analysis.{found})", hold="30d")
    return Stop(stop.scope, stop.reason, stop.hold, values={f"event.analysis.{found}": event.analysis[found]})


def _told(event: CallEvent) -> list[str]:
    """Give the findings that say so, which nearly no call has."""
    return [name for name, value in event.analysis.items() if name in PLACES and _tells(name, value)]


opt_out = replace(opt_out, wants=lambda event: bool(_told(event)))
"""Not asked about an analysis that says nothing of it, as nearly all do."""


def _tells(name: str, value: Any) -> bool:
    return _true(value) if name in FINDINGS else _is_finding(value)


def _is_finding(value: Any) -> bool:
    """Whether a status is a finding in words: "Do not call"."""
    return isinstance(value, str) and re.sub(r"[^a-z]+", "_", value.lower()).strip("_") in FINDINGS


def _true(value: Any) -> bool:
    return (
        value is True
        or (isinstance(value, int) and value == 1)
        or (isinstance(value, str) and value.strip().lower() in {"true", "yes"})
    )
