"""What the built-in rules have in common: how their ``params`` are checked, and how they know a voicemail."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from consumer.model import CallEvent

Share = Annotated[float, Field(gt=0, le=1)]
VOICEMAIL = frozenset({"voicemail", "machine", "answering_machine", "machine_start", "machine_end"})


class Params(BaseModel):
    """The params of a rule: no unknown keys, no text where a number belongs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def is_voicemail(event: CallEvent) -> bool:
    """Whether a machine answered: Bland says ``answered_by``, Vapi ``endedReason``, analyses ``voicemail``."""
    analysis = event.analysis
    if analysis and (analysis.get("voicemail") is True or _names_it(analysis.get("answered_by"))):
        return True
    message = event.raw.get("message")
    ended = message.get("endedReason") if isinstance(message, Mapping) else None
    return _names_it(event.raw.get("answered_by")) or _names_it(ended)


def _names_it(told: Any) -> bool:
    return isinstance(told, str) and told.strip().lower().replace("-", "_") in VOICEMAIL
