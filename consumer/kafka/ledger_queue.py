"""What of a ledger is to be sent, in its order: rows, and what has changed since they were written.

Those that are in a request, or were since the rows were written, stand at the front of the rows. They are not walked over
each time: it is remembered how far the rows hold nothing else. What comes in before that place brings it back; what comes
due there, or is let go without a change, is found within a second.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from consumer.kafka.ledger_rows import FIRST_PLACE, Rows, SendPlace

LOOK_AGAIN_SECONDS = 1.0


class Found(NamedTuple):
    """One that may be sent: its place, which ends with its id, and its row; None where it has changed since."""

    place: SendPlace
    n: int | None


class _Front(NamedTuple):
    """Up to which place the rows of an account hold nothing to be sent, and since when that is so."""

    place: SendPlace
    since: float


class SendQueue:
    """The order in which the terminations of one ledger are sent."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._fronts: dict[str, _Front] = {}
        self._unsaved: dict[str, list[SendPlace]] = {}
        self._places: set[SendPlace] = set()
        self._in_order = True

    def changed(self, account: str, place: SendPlace) -> None:
        """Note one that waits since it has changed, until that is written."""
        if place not in self._places:
            self._places.add(place)
            self._unsaved.setdefault(account, []).append(place)
            self._in_order = False

    def saved(self, account: str, place: SendPlace) -> None:
        """Note that a row tells now that it is to be sent."""
        if (front := self._fronts.get(account)) and place <= front.place:
            self._fronts[account] = _Front((place[0], place[1], ""), front.since)

    def all_saved(self) -> None:
        """Note that the rows tell everything."""
        self._unsaved.clear()
        self._places.clear()

    def of(
        self,
        account: str,
        now: float,
        *,
        skip: AbstractSet[str],
        after: SendPlace,
        up_to_lane: int,
        has_changed: Callable[[str], bool],
        is_due: Callable[[SendPlace], bool],
    ) -> Iterator[Found]:
        """Give those behind ``after`` in order, but for ``skip``.

        Args:
            account: whose.
            now: seconds since the epoch; what is due later is left out.
            skip: ids that are left out.
            after: the place they stand behind.
            up_to_lane: the last lane to look at.
            has_changed: whether the row of an id is outdated.
            is_due: whether one that has changed is to be sent, and stands in this place still.

        """
        unsaved = self._of_unsaved(account, after, up_to_lane)
        due = (Found(place, None) for place in unsaved if place[2] not in skip and is_due(place))
        ahead = next(due, None)
        for found in self._of_rows(account, now, skip, after, up_to_lane, has_changed):
            while ahead is not None and ahead.place <= found.place:
                yield ahead
                ahead = next(due, None)
            yield found
        while ahead is not None:
            yield ahead
            ahead = next(due, None)

    def _of_unsaved(self, account: str, after: SendPlace, up_to_lane: int) -> list[SendPlace]:
        if not self._in_order:
            for places in self._unsaved.values():
                places.sort()
            self._in_order = True
        places = self._unsaved.get(account, [])
        return places[bisect_right(places, after) : bisect_left(places, (up_to_lane + 1, 0.0, ""))]

    def _of_rows(
        self,
        account: str,
        now: float,
        skip: AbstractSet[str],
        after: SendPlace,
        up_to_lane: int,
        has_changed: Callable[[str], bool],
    ) -> Iterator[Found]:
        front = self._fronts.get(account)
        if front is None or not 0 <= now - front.since < LOOK_AGAIN_SECONDS:
            front = self._fronts[account] = _Front(FIRST_PLACE, now)
        at_front = after <= front.place
        passed = front.place
        for lane, since, one, n in self._rows.waiting(account, now, after=max(after, passed), up_to_lane=up_to_lane):
            if one in skip or has_changed(one):
                passed = (lane, since, one)
                continue
            if at_front:
                self._fronts[account], at_front = _Front(passed, front.since), False
            yield Found((lane, since, one), n)
