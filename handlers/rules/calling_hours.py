"""``calling_hours``: nobody is called at night. A call that waits outside the hours of its number's zone is stopped, once.

The zone follows from the number's country code, and where that is not enough its area code. Many countries have several
zones, and some numbers belong to none: where the hours are kept in one possible zone and not in another, ``unsure`` decides.
The time is the event's.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone
from pydantic import BeforeValidator, Field, model_validator

from consumer.model import Call, CallEvent, Stop, rule
from handlers.rules.params import Params

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60


def _minutes(told: Any) -> int:
    """Minutes since midnight of ``"09:00"``; YAML itself makes them of ``21:00`` without quotes."""
    if isinstance(told, int) and not isinstance(told, bool):
        minutes = told
    else:
        hours, colon, rest = str(told).partition(":")
        if not (colon and hours.isdecimal() and rest.isdecimal() and len(rest) == 2 and int(rest) < 60):
            raise ValueError("write a time of day, such as 09:00")
        minutes = int(hours) * 60 + int(rest)
    if not 0 <= minutes <= DAY_MINUTES:
        raise ValueError("write a time of day from 00:00 to 24:00")
    return minutes


Clock = Annotated[int, BeforeValidator(_minutes)]


class Settings(Params):
    """From when to when, in minutes since midnight, and on which days of the week people may be called."""

    start: Clock = 9 * 60
    end: Clock = 21 * 60
    days: list[Day] = Field(default=list(DAYS), min_length=1)
    unsure: Literal["allow", "stop"] = "allow"

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.start >= self.end:
            raise ValueError("`start` is not before `end`")
        return self

    def allow(self, moment: datetime) -> bool:
        """Whether somebody may be called at this time of theirs."""
        minute = moment.hour * 60 + moment.minute
        return self.start <= minute < self.end and DAYS[moment.weekday()] in self.days


@rule(on=["queued", "finished"], params=Settings)
def calling_hours(event: CallEvent, call: Call, params: Settings) -> Stop | None:
    """Stop a call that waits while its number may not be called."""
    if not call.terminable or call.number is None:
        return None
    moment = datetime.fromtimestamp(event.at if event.at is not None else event.logged_at, UTC)
    theirs = {zone: moment.astimezone(ZoneInfo(zone)) for zone in zones_of(call.number)}
    allowed = [params.allow(local) for local in theirs.values()]
    if (any(allowed) or not allowed) if params.unsure == "allow" else (all(allowed) and bool(allowed)):
        return None
    values = {f"time in {zone}": f"{local:%a %H:%M}" for zone, local in list(theirs.items())[:3]}
    stop = Stop.call(call.call_id, reason=_reason(theirs), hold=0)
    return Stop(stop.scope, stop.reason, stop.hold, values=values)


@lru_cache(maxsize=10_000)
def zones_of(number: str) -> tuple[str, ...]:
    """Name the zones that a number (E.164) may be in; none where that is unknown."""
    try:
        found = timezone.time_zones_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return ()
    return tuple(zone for zone in found if _is_known(zone))


def _is_known(zone: str) -> bool:
    try:
        return zone != timezone.UNKNOWN_TIMEZONE and ZoneInfo(zone) is not None
    except ZoneInfoNotFoundError:
        return False


def _reason(theirs: dict[str, datetime]) -> str:
    if not theirs:
        return "it is not known what time it is where the number is"
    zone, local = next(iter(theirs.items()))
    return f"it is {local:%A %H:%M} in {zone}, outside calling hours"
