"""What the correlator counts."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter

EVENTS = Counter("callbreaker_events_correlated", "Call events folded, without duplicates.", ["account", "type"])
DUPLICATES = Counter("callbreaker_events_duplicate", "Call events that had been folded already.")
UNREADABLE = Counter("callbreaker_events_unreadable", "Records of call-events that are not call events.")
DECISIONS = Counter("callbreaker_decisions", "Decisions to stop a call, written to terminations.", ["account"])


def count_events(counted: Iterable[tuple[tuple[str, str], int]]) -> None:
    """Count so many folded events by account and type."""
    for (account, kind), n in counted:
        _events(account, kind).inc(n)


@cache
def _events(account: str, kind: str) -> Counter:
    """Finding a labelled counter costs more than counting, so it is kept; accounts and types are few."""
    return EVENTS.labels(account, kind)


@cache
def decisions(account: str) -> Counter:
    """Give the counter of an account's decisions; a stop of a campaign makes a million of them."""
    return DECISIONS.labels(account)
