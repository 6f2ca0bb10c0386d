"""Keeping calls: those that wait are written anew before the topic forgets them, the others leave the view in the end.

Time is the broker's, as the partition's own records tell it. So whether an event still meets its call depends on the records
only, and not on when somebody got round to sweeping.
"""

from consumer.correlate.calls import Calls, Keeping
from consumer.model.calls import Call

AT_ONCE = 500
EVERY_SECONDS = 1.0
QUIET_SECONDS = 30.0
WRITTEN_AGAIN_SECONDS = 600.0


class Keeper:
    """Finds what is due."""

    def __init__(self, calls: Calls, keeping: Keeping) -> None:
        self._calls = calls
        self._forget_seconds = keeping.forget_seconds
        self._log_time = 0.0
        self._next_at = 0.0
        self._written: dict[str, float] = {}

    def reached(self, logged_at: float) -> None:
        """Learn the time (seconds) of an event."""
        self._log_time = max(self._log_time, logged_at)

    def remembers(self, call: Call, logged_at: float) -> bool:
        """Whether an event of this time meets a call, or finds it forgotten."""
        return call.last_at + self._forget_seconds >= logged_at or call.terminable

    def is_due(self, now: float) -> bool:
        """Whether it is time for ``work`` to look for calls that are due."""
        return now >= self._next_at

    def work(self, now: float) -> list[Call]:
        """Forget what is past its time; gives the calls that are to be written anew. ``now`` is in seconds."""
        if not self.is_due(now):
            return []
        forgotten, more_to_forget = self._calls.to_forget(self._log_time, limit=AT_ONCE)
        for call in forgotten:
            self._calls.forget(call)
        self._written = {name: at for name, at in self._written.items() if now - at < WRITTEN_AGAIN_SECONDS}
        to_carry, more_to_carry = self._calls.to_carry(now, limit=AT_ONCE)
        due = [call for call in to_carry if call.name not in self._written]
        for call in due:
            if not self.remembers(call, self._log_time):  # began and never ended
                self._calls.forget(call)
        due = [call for call in due if call.terminable]
        self._written.update((call.name, now) for call in due)
        more = bool(forgotten or due) or more_to_forget or more_to_carry
        self._next_at = now + (EVERY_SECONDS if more else QUIET_SECONDS)
        return due
