"""``failing_campaign``: of the attempts that have ended in the window, too large a share has failed.

By default over a campaign, ten minutes and at least 50 attempts; ``over`` in the configuration says otherwise.
"""

from consumer.model import Over, Stop, Totals, rule
from consumer.model.durations import HoldSeconds
from handlers.rules.params import Params, Share


class Settings(Params):
    """The share that is too large; ``retries``: an attempt that will be tried again counts as failed."""

    share: Share = 0.4
    retries: bool = False
    hold: HoldSeconds = None


@rule(over=Over("campaign", window="10m", at_least=50), params=Settings)
def failing_campaign(totals: Totals, params: Settings) -> list[Stop]:
    """Stop a campaign of which too many attempts fail."""
    failed = totals.failed + (totals.retried if params.retries else 0.0)
    share = totals.share(failed, totals.finished)
    if share is None or share <= params.share:
        return []
    values = {"totals.failed": totals.failed, "totals.retried": totals.retried, "totals.finished": totals.finished}
    reason = f"{failed:.0f} of {totals.finished:.0f} attempts failed, more than {params.share:.0%}"
    hold = "until-released" if params.hold is None else params.hold
    return totals.stops(reason=reason, hold=hold, values=values | {"params.share": params.share})
