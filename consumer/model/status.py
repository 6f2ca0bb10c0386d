"""The life of a call in seven words, and which of them can still be stopped."""

from enum import StrEnum


class Status(StrEnum):
    """Where a call stands, in the words of the providers' own enumeration (Ringg: making-your-first-call)."""

    REGISTERED = "registered"
    RETRY = "retry"
    ONGOING = "ongoing"
    COMPLETED = "completed"
    FAILED = "failed"
    ERROR = "error"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__  # Enum's own is written in Python, and these are looked up for every event

    @property
    def terminable(self) -> bool:
        """Whether the call waits to be dialled, so that a provider may still be told not to."""
        return self in TERMINABLE

    @property
    def final(self) -> bool:
        """Whether the attempt it belongs to ended the call."""
        return self in FINAL


TERMINABLE = frozenset({Status.REGISTERED, Status.RETRY})
FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.ERROR, Status.CANCELLED})


class EventType(StrEnum):
    """What a webhook is about. An attempt that ended in ``retry`` is ``finished`` too."""

    QUEUED = "queued"
    STARTED = "started"
    FINISHED = "finished"
    RECORDING = "recording"
    ANALYSIS = "analysis"
    OTHER = "other"

    __hash__ = str.__hash__
