"""What was said in a completed call, and what an analysis makes of it."""

from typing import Any, NamedTuple

from .calls import Call, Status


class Turn(NamedTuple):
    is_agent: bool
    text: str


def name_of(call: Call) -> str:
    return f"Person {call.number[-8:]}"


def turns(call: Call) -> list[Turn]:
    if call.status is not Status.COMPLETED:
        return []
    said = "Please do not call me again." if call.opted_out else "Yes, I will pay today."
    return [Turn(True, "Hello, this is Acme Corp about your payment."), Turn(False, said)]


def transcript_text(call: Call) -> str:
    return "\n".join(f"{'bot' if turn.is_agent else 'user'}: {turn.text}" for turn in turns(call))


def analysis(call: Call) -> dict[str, Any]:
    if call.opted_out:
        return {
            "summary": "The customer asked not to be called again.",
            "classification": "do_not_call",
            "opt_out": True,
            "sentiment": "negative",
        }
    return {
        "summary": "The customer will pay today.",
        "classification": "promise_to_pay",
        "opt_out": False,
        "sentiment": "neutral",
    }
