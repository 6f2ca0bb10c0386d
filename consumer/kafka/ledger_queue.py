"""What of a ledger is to be sent, in its order: rows, and what has changed since they were written.

There may be a million, and each request wants the next hundred. So the first ones of an account are kept at hand: all that
are to be sent up to some place, the horizon. What comes to wait before the horizon is put among them; once they are used
up, the next are read. They are read anew when one comes due that was left out, and after a second in any case.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from heapq import merge
from itertools import islice

from consumer.kafka.ledger_rows import FIRST_PLACE, Entry, Rows, SendPlace
from consumer.model.terminations import State

LOOK_AGAIN_SECONDS = 1.0
READ_AT_ONCE = 1_000
AT_HAND = 4_000
"""So many of an account are kept at hand; where more come to wait, the horizon draws nearer."""
LAST_PLACE: SendPlace = (1_000_000, 0.0, "")

Found = tuple[SendPlace, int]
"""One that may be sent: its place, which ends with its id, and its row."""


class Line:
    """The first of an account: all that are to be sent and stand no further than ``horizon``.

    It holds from ``since`` until before ``until``, in seconds since the epoch.
    """

    __slots__ = ("_aside", "_gone", "_places", "_rows", "horizon", "since", "until")

    def __init__(self, since: float) -> None:
        """Begin with none, and the horizon before everything."""
        self.since = since
        self.until = since + LOOK_AGAIN_SECONDS
        self.horizon = FIRST_PLACE
        self._rows: dict[SendPlace, int] = {}
        self._aside: dict[SendPlace, int] = {}
        self._places: list[SendPlace] = []
        self._gone = 0  # so many of the places, from the first on, are not in ``_rows`` any more

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= AT_HAND

    def put(self, place: SendPlace, n: int) -> None:
        """Put one among them, if it stands before the horizon."""
        if place <= self.horizon and place not in self._rows:
            self._rows[place] = n
            at = bisect_left(self._places, place)
            self._places.insert(at, place)
            self._gone = min(self._gone, at)
            if len(self._places) > 2 * AT_HAND:
                self._tidy()

    def drop(self, place: SendPlace) -> None:
        """Take one out."""
        self._rows.pop(place, None)
        self._aside.pop(place, None)

    def set_aside(self, place: SendPlace) -> None:
        """Take one out that is not to be looked at for now: mostly a request for it is under way."""
        n = self._rows.pop(place, None)
        if n is not None:
            self._aside[place] = n

    def bring_back(self, skip: AbstractSet[str]) -> None:
        """Put back what was set aside, but for these ids."""
        for place in [place for place in self._aside if place[2] not in skip]:
            self.put(place, self._aside.pop(place))

    def extend(self, found: list[Found], horizon: SendPlace) -> None:
        """Put those behind the horizon, up to a new one, at the end."""
        self._tidy()
        self._rows.update(found)
        self._places += [place for place, _ in found]
        self.horizon = horizon

    def behind(self, place: SendPlace) -> Iterator[Found]:
        """Give those behind a place, in order."""
        places, rows = self._places, self._rows
        while self._gone < len(places) and places[self._gone] not in rows:
            self._gone += 1
        for one in islice(places, self._gone, None):
            n = rows.get(one)
            if n is not None and one > place:
                place = one
                yield one, n

    def _tidy(self) -> None:
        """Forget what was dropped, and what is more than can be kept at hand: it is read again in its turn."""
        self._gone = 0
        left = list(dict.fromkeys(place for place in self._places if place in self._rows))
        if len(left) > AT_HAND:
            self.horizon = left[AT_HAND - 1]
            for place in left[AT_HAND:]:
                del self._rows[place]
        self._places = left[:AT_HAND]


class SendQueue:
    """The order in which the terminations of one ledger are sent."""

    def __init__(self, rows: Rows, changed: Mapping[str, Entry], is_due: Callable[[Entry, float], bool]) -> None:
        """``changed`` are those that rows do not tell of yet; ``is_due`` says whether one is to be sent at a time."""
        self._rows = rows
        self._changed = changed
        self._is_due = is_due
        self._lines: dict[str, Line] = {}

    def changed(self, before: Entry | None, entry: Entry) -> None:
        """Note a change that no row tells of yet."""
        line = self._lines.get(entry.t.account)
        if line is None:
            return
        if before and before.place != entry.place:
            line.drop(before.place)
        if entry.state is State.WAITING:
            line.put(entry.place, entry.n)
        else:
            line.drop(entry.place)

    def saved(self, entry: Entry, due_at: float | None) -> None:
        """Note that the row tells now from when on one is to be sent; None where it is not."""
        line = self._lines.get(entry.t.account)
        if line is None:
            return
        if due_at is not None and due_at <= line.since:
            line.put(entry.place, entry.n)
            return
        line.drop(entry.place)
        if due_at is not None:
            line.until = min(line.until, due_at)

    def of(
        self, account: str, now: float, *, skip: AbstractSet[str], after: SendPlace, up_to_lane: int
    ) -> Iterator[Found]:
        """Give those behind ``after`` in order.

        Args:
            account: whose.
            now: seconds since the epoch; what is due later is left out.
            skip: ids that are left out.
            after: the place they stand behind.
            up_to_lane: the last lane to look at.

        """
        found = self._at_hand(account, now, skip) if after == FIRST_PLACE else self._behind(account, now, after)
        for place, n in found:
            if place[0] > up_to_lane:
                return
            if place[2] in skip:
                if line := self._lines.get(account):
                    line.set_aside(place)
                continue
            changed = self._changed.get(place[2])
            if changed is None or self._is_due(changed, now):
                yield place, n

    def _at_hand(self, account: str, now: float, skip: AbstractSet[str]) -> Iterator[Found]:
        line = self._lines.get(account)
        if line is None or not line.since <= now < line.until:
            line = self._lines[account] = Line(now)
        line.bring_back(skip)
        passed = FIRST_PLACE
        while True:
            yield from line.behind(passed)
            passed = line.horizon
            if passed == LAST_PLACE:
                return
            if line.is_full:  # of those that are in flight, or cannot be sent
                yield from self._behind(account, now, passed)
                return
            self._read_on(line, account, now)

    def _read_on(self, line: Line, account: str, now: float) -> None:
        """Put what stands next behind the horizon at hand."""
        rows = list(islice(self._rows.waiting(account, after=line.horizon), READ_AT_ONCE))
        horizon = rows[-1][0] if len(rows) == READ_AT_ONCE else LAST_PLACE
        unchanged = [row for row in rows if row[0][2] not in self._changed]
        line.until = min(line.until, min((due_at for *_, due_at in unchanged if due_at > now), default=line.until))
        found = [(place, n) for place, n, due_at in unchanged if due_at <= now]
        found += self._unsaved(account, line.horizon, horizon)
        found.sort()
        if len(found) > READ_AT_ONCE:
            del found[READ_AT_ONCE:]
            horizon = found[-1][0]
        line.extend(found, horizon)

    def _behind(self, account: str, now: float, after: SendPlace) -> Iterator[Found]:
        """Give those behind a place; there may be very many, and nothing of them is kept."""
        rows = self._rows.waiting(account, after=after)
        due = ((place, n) for place, n, due_at in rows if due_at <= now and place[2] not in self._changed)
        return merge(due, sorted(self._unsaved(account, after, LAST_PLACE)))

    def _unsaved(self, account: str, after: SendPlace, horizon: SendPlace) -> list[Found]:
        """Give those between two places that wait and have changed since their rows were written."""
        return [
            (entry.place, entry.n)
            for entry in self._changed.values()
            if entry.state is State.WAITING and after < entry.place <= horizon and entry.t.account == account
        ]
