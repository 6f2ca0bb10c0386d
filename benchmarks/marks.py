"""How far a process was at two moments, which gives wall-clock and CPU time per event. Needs only the standard library."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """So many events done, at this time, having used so much CPU time (all threads of the process), in seconds."""

    events: int
    at: float
    cpu: float


def mark(events: int) -> Mark:
    return Mark(events, time.perf_counter(), time.process_time())


def between(first: Mark, last: Mark) -> dict[str, float]:
    """Give the events, seconds and CPU seconds from one mark to the other."""
    return {
        "events": last.events - first.events,
        "seconds": last.at - first.at,
        "cpu_seconds": last.cpu - first.cpu,
    }
