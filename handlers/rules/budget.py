"""``budget``: so much money or so many minutes are spent in the window, and that is enough.

By default per campaign and day (the last 24 hours). ``over`` in the configuration says otherwise: ``{scope: campaign,
window: 30d}`` is the campaign's whole budget, ``{scope: account, window: 24h}`` stops each campaign of the account.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from consumer.model import Over, Stop, Totals, rule
from consumer.model.durations import HoldSeconds
from handlers.rules.params import Params

Amount = Annotated[float, Field(gt=0)]
MINUTE_SECONDS = 60.0


class Settings(Params):
    """What may be spent: ``cost`` in the provider's currency, ``minutes`` of talk; either or both."""

    cost: Amount | None = None
    minutes: Amount | None = None
    hold: HoldSeconds = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.cost is None and self.minutes is None:
            raise ValueError("a budget needs `cost`, `minutes` or both")
        return self


@rule(over=Over("campaign", window="24h"), params=Settings)
def budget(totals: Totals, params: Settings) -> list[Stop]:
    """Stop what has spent its budget."""
    minutes = totals.seconds / MINUTE_SECONDS
    found = []
    if params.cost is not None and totals.cost >= params.cost:
        found.append(f"a cost of {totals.cost:.2f} has reached the budget of {params.cost:g}")
    if params.minutes is not None and minutes >= params.minutes:
        found.append(f"{minutes:.0f} minutes have reached the budget of {params.minutes:g}")
    if not found:
        return []
    hold = "until-released" if params.hold is None else params.hold
    values = {"totals.cost": totals.cost, "totals.seconds": totals.seconds}
    return totals.stops(reason="; ".join(found), hold=hold, values=values)
