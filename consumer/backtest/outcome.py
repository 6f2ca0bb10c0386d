"""What became of the calls that a rule would have stopped: from how a call stood then, and how it stands at last."""

from enum import StrEnum
from typing import NamedTuple

from consumer.model.calls import Call
from consumer.model.status import Status


class Ending(StrEnum):
    """How a call went on that was not stopped: ``well`` was a false stop, ``badly`` a right one."""

    WELL = "well"
    BADLY = "badly"
    CANCELLED = "cancelled"
    OPEN = "open"


class After(NamedTuple):
    """What happened to a call from the moment at which it would have been stopped: attempts, seconds and cost."""

    ending: Ending
    attempts: int
    seconds: float
    cost: float


def after(then: Call, at_last: Call) -> After:
    """Compare a call as it stood when it would have been stopped with how it stands at last.

    It went well where somebody answered whom nobody had reached until then, or where it was completed; badly where it failed
    or was tried in vain.
    """
    attempts = max(0, at_last.attempts_finished - then.attempts_finished)
    answered = at_last.connected and not then.connected
    if answered or at_last.status is Status.COMPLETED:
        ending = Ending.WELL
    elif at_last.status in (Status.FAILED, Status.ERROR):
        ending = Ending.BADLY
    elif at_last.status is Status.CANCELLED:
        ending = Ending.CANCELLED
    else:
        ending = Ending.BADLY if attempts else Ending.OPEN
    return After(ending, attempts, max(0.0, at_last.seconds - then.seconds), max(0.0, at_last.cost - then.cost))
