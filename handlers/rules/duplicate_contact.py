"""``duplicate_contact``: somebody was reached, so the other calls that wait for that number are not needed any more.

Reached is a call that connected to somebody who was no machine, and talked for ``talked`` at least. It stops the number
within the campaign, or with ``within: account`` everywhere, for ``hold``; retries of the same call are stopped too.
"""

from typing import Literal

from consumer.model import Call, CallEvent, Stop, rule
from consumer.model.durations import Duration, HoldSeconds
from consumer.model.scopes import ScopeKind
from consumer.model.stops import Aim
from handlers.rules.params import Params, is_voicemail


class Settings(Params):
    """Durations in seconds; ``hold`` 0.0 once, None until released."""

    within: Literal["campaign", "account"] = "campaign"
    talked: Duration = 0.0
    hold: HoldSeconds = 86_400.0


@rule(on=["started", "finished", "analysis"], params=Settings)
def duplicate_contact(event: CallEvent, call: Call, params: Settings) -> Stop | None:
    """Stop the other calls to a number that was reached."""
    if not event.connected or call.number is None or is_voicemail(event):
        return None
    if params.talked and (event.duration_seconds or 0.0) < params.talked:
        return None
    everywhere = params.within == "account" or call.campaign_id is None
    kind = ScopeKind.NUMBER if everywhere else ScopeKind.NUMBER_IN_CAMPAIGN
    values = {"event.connected": True, "event.duration_seconds": event.duration_seconds, "call.number": call.number}
    return Aim(kind, params.hold).at(call, "the number was reached", values)
