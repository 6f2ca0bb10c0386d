"""``low_quality``: calls that are answered lead nowhere: low scores in their analyses, talks that are over at once, machines.

By default over a campaign and one hour. Each of the three counts only once there are ``sample`` calls to tell by.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from consumer.model import CallEvent, EventType, Over, Stop, Totals, rule
from consumer.model.durations import HoldSeconds, PositiveDuration
from handlers.rules.params import Params, Share, is_voicemail


class Settings(Params):
    """What is too low or too much; None is not looked at. ``score`` says where in the analysis the score is, with dots."""

    score: Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")] = "score"
    least_score: float | None = None
    short: PositiveDuration = 10.0
    short_share: Share | None = 0.5
    voicemail_share: Share | None = 0.5
    sample: Annotated[int, Field(ge=1)] = 20
    hold: HoldSeconds = None


def measures(params: Settings) -> Mapping[str, Callable[[CallEvent], float | None]]:
    """What is added up of events."""
    path = params.score.split(".")

    def score(event: CallEvent) -> float | None:
        value: Any = event.analysis if event.type is EventType.ANALYSIS else None
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def talked(event: CallEvent) -> float | None:
        return 1.0 if event.connected and event.duration_seconds is not None else None

    return {
        "scores": score,
        "scored": lambda event: None if score(event) is None else 1.0,
        "talked": talked,
        "short": lambda event: talked(event) if (event.duration_seconds or 0.0) < params.short else None,
        "answered": lambda event: 1.0 if event.type is EventType.FINISHED and event.connected else None,
        "machines": lambda event: (
            1.0 if event.type is EventType.FINISHED and event.connected and is_voicemail(event) else None
        ),
    }


@rule(over=Over("campaign", window="1h"), measures=measures, params=Settings)
def low_quality(totals: Totals, params: Settings) -> list[Stop]:
    """Stop a campaign whose calls lead nowhere."""
    found = [*_low_scores(totals, params), *_short(totals, params), *_machines(totals, params)]
    if not found:
        return []
    values = {f"totals.sums.{name}": value for name, value in totals.sums.items()}
    hold = "until-released" if params.hold is None else params.hold
    return totals.stops(reason="; ".join(found), hold=hold, values=values)


def _low_scores(totals: Totals, params: Settings) -> list[str]:
    scored, mean = totals.sums["scored"], totals.share("scores", "scored")
    if params.least_score is None or mean is None or scored < params.sample or mean >= params.least_score:
        return []
    return [f"the mean of {scored:.0f} scores is {mean:.2f}, below {params.least_score:g}"]


def _short(totals: Totals, params: Settings) -> list[str]:
    talked, share = totals.sums["talked"], totals.share("short", "talked")
    if params.short_share is None or share is None or talked < params.sample or share <= params.short_share:
        return []
    return [f"{share:.0%} of {talked:.0f} talks were shorter than {params.short:g} s"]


def _machines(totals: Totals, params: Settings) -> list[str]:
    answered, share = totals.sums["answered"], totals.share("machines", "answered")
    if params.voicemail_share is None or share is None or answered < params.sample or share <= params.voicemail_share:
        return []
    return [f"machines answered {share:.0%} of {answered:.0f} calls"]
