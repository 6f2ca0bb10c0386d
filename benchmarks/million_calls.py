"""A campaign of a million calls: the n-th call of it, as a plan and as its first event."""

from benchmarks.world import ACCOUNT_NAME, PlannedCall
from consumer.model.events import CallEvent, Position
from consumer.model.status import EventType, Status

CALLS = 1_000_000
CAMPAIGN = "campaign-of-a-million"
AGENTS = 5
SCATTER = 2_654_435_761
"""Odd, so that times it every number below 2**32 is hit once, in no order: ids come as scattered as a provider's."""


def call_id_of(n: int) -> str:
    return f"{n * SCATTER & 0xFFFFFFFF:08x}-7e1f-4c55-9d0e-{n:012x}"


def planned(n: int) -> PlannedCall:
    return PlannedCall(call_id_of(n), CAMPAIGN, f"cbaf9944-3e34-43b6-b3e8-6a905de1663{n % AGENTS}", f"+9198{n:08d}")


def event_of(n: int, logged_at: float, position: Position) -> CallEvent:
    """The registration of the n-th call, as it is read from ``call-events``."""
    call = planned(n)
    return CallEvent(
        account=ACCOUNT_NAME,
        provider="ringg",
        call_id=call.call_id,
        event_id=f"body-{n:032x}",
        type=EventType.QUEUED,
        status=Status.REGISTERED,
        attempt=0,
        campaign_id=call.campaign_id,
        agent_id=call.agent_id,
        number=call.number,
        from_number="+918035735900",
        logged_at=logged_at,
        position=position,
    )
