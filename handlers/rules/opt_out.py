"""``opt_out``: the person said "never call me again", so every waiting call to that number is stopped.

It looks at the analysis of a call, under the names that agents commonly give the finding, and believes it when it is
true, "true", "yes" or 1. The stop holds for 30 days, so a call that registers later is stopped too.
"""

from typing import Any

from consumer.model import Call, CallEvent, Stop, rule

FINDINGS = ("opt_out", "opted_out", "do_not_call", "dnc", "unsubscribe", "never_call_again")


@rule(on="analysis", version="1")
def opt_out(event: CallEvent, call: Call) -> Stop | None:
    """Stop a number whose owner asked not to be called."""
    found = next((name for name in FINDINGS if _true(event.analysis.get(name))), None)
    if found is None or call.number is None:
        return None
    return Stop.number(call.number, reason=f"the person asked not to be called again (analysis.{found})", hold="30d")


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, int) and value == 1) or str(value).strip().lower() in {"true", "yes"}
