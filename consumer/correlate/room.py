"""How much of the calls a worker keeps in memory: so much of all partitions of the topic together, and of each at least."""

from typing import NamedTuple

UNSAVED_EVENTS, UNSAVED_CALLS, LEAST_UNSAVED = 120_000, 40_000, 100
AT_HAND, LEAST_AT_HAND = 60_000, 400
CACHE_KIBIBYTES, LEAST_CACHE_KIBIBYTES = 32 * 1_024, 768


class Room(NamedTuple):
    """What one partition may take.

    It is saved after ``unsaved_events``, so that what many events did to a call is written once, or when ``unsaved_calls``
    have changed. ``at_hand`` calls are in memory, those among them, about 1 KB each, and ``cache_kibibytes`` of the file.
    """

    unsaved_events: int = UNSAVED_EVENTS
    unsaved_calls: int = UNSAVED_CALLS
    at_hand: int = AT_HAND
    cache_kibibytes: int = CACHE_KIBIBYTES


def room_of(partitions: int) -> Room:
    """Share the room among so many partitions."""
    return Room(
        max(LEAST_UNSAVED, UNSAVED_EVENTS // partitions),
        max(LEAST_UNSAVED, UNSAVED_CALLS // partitions),
        max(LEAST_AT_HAND, AT_HAND // partitions),
        max(LEAST_CACHE_KIBIBYTES, CACHE_KIBIBYTES // partitions),
    )
