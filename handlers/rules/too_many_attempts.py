"""``too_many_attempts``: a call that has been tried often enough is not tried again."""

from typing import Annotated

from pydantic import Field

from consumer.model import Call, CallEvent, Stop, rule
from handlers.rules.params import Params


class Settings(Params):
    """How many attempts are enough."""

    attempts: Annotated[int, Field(ge=1)] = 3


@rule(on=["queued", "finished"], params=Settings)
def too_many_attempts(event: CallEvent, call: Call, params: Settings) -> Stop | None:  # noqa: ARG001 -- the form of a rule
    """Stop a call that waits for one attempt too many."""
    if not call.terminable or call.attempts_finished < params.attempts:
        return None
    stop = Stop.call(call.call_id, reason=f"{call.attempts_finished} attempts have ended; {params.attempts} are enough")
    values = {"call.attempts_finished": call.attempts_finished, "params.attempts": params.attempts}
    return Stop(stop.scope, stop.reason, stop.hold, values=values)
