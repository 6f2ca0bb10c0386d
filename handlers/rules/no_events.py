"""``no_events``: a campaign whose calls wait has gone silent. It stops nothing: it alerts, until something is heard again."""

from typing import Annotated

from pydantic import Field

from consumer.model.durations import PositiveDuration, format_duration
from consumer.model.rules import Silence, silence_rule
from handlers.rules.params import Params


class Settings(Params):
    """After how long (seconds), and with how many waiting calls, silence is worth an alert."""

    after: PositiveDuration = 1_800.0
    open: Annotated[int, Field(ge=1)] = 1


@silence_rule(params=Settings)
def no_events(silence: Silence, params: Settings) -> str | None:
    """Say that a campaign has gone silent."""
    if silence.seconds < params.after or silence.open < params.open:
        return None
    return (
        f"nothing has been heard of campaign {silence.campaign_id} of {silence.account} for "
        f"{format_duration(params.after)}, though {silence.open} of its calls wait: does it dial, do its webhooks arrive?"
    )
