"""Whether a view may be gone on with, and whether what is read then follows on what it holds.

A view is a fold of one log. Where the log is another one, has lost its end, or no longer has what comes next, going on would
mix two histories or leave a gap, so the view is built again from the start. What can show that:

* the ids of the topics (KIP-516): a topic that was deleted and made again has another one;
* the bounds of the partition: it ends before what was read, or begins after what comes next;
* the last record folded: it is read again when the view is resumed, and must be at its offset with its time. That finds
  a log whose end was lost and has grown beyond it since;
* every batch: it begins where the last one ended, but for offsets that compaction has emptied.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from consumer.kafka.reader import LogRecord
from consumer.kafka.view import View

Key = tuple[str, int]
Bounds = Mapping[Key, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Log:
    """What Kafka says: ids of topics by name (empty where it has none), (first, next) offset by (topic, partition)."""

    ids: Mapping[str, str]
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a view cannot be gone on with. ``log_changed``: what was committed of the log is of no worth either."""

    why: str
    log_changed: bool = False

    def __str__(self) -> str:
        return self.why


def doubt(view: View, log: Log) -> Doubt | None:
    """Say why a view cannot be gone on with; None where it can."""
    if view.logs and view.logs.keys() != log.ids.keys():
        return Doubt(f"it is of {_names(view.logs)}, and wanted is one of {_names(log.ids)}")
    for topic, now in log.ids.items():
        then = view.logs.get(topic, "")
        if then and now and then != now:
            return Doubt(f"topic {topic} was deleted and made again since", log_changed=True)
    if not view.offsets.keys() <= log.bounds.keys():
        return Doubt(f"it is of other partitions: {_places(view.offsets.keys() - log.bounds.keys())}")
    for key, following in view.offsets.items():
        first, end = log.bounds[key]
        if following > end:
            lost = f"{_place(key)} was read up to {following} and ends at {end} now: it has lost its end"
            return Doubt(lost, log_changed=True)
        if following < first:
            return _taken(key, following, first)
    return None


class Following:
    """What comes next in each partition being read, and what stands right before it."""

    def __init__(self, bounds: Callable[[Iterable[Key]], Awaitable[Bounds]]) -> None:
        """Begin with nothing; ``bounds`` asks Kafka."""
        self._bounds = bounds
        self._next: dict[Key, int] = {}
        self._anchors: dict[Key, int] = {}

    def start(self, view: View, log: Log) -> dict[Key, int]:
        """Give where to read on, by (topic, partition): at the last record folded, if that is still there, else behind it."""
        view.begin(log.ids, {key: first for key, (first, _) in log.bounds.items()})
        offsets = {}
        for key, (first, _) in log.bounds.items():
            offsets[key] = self._next[key] = view.offsets[key]
            self._anchors.pop(key, None)
            if key in view.stamps and view.offsets[key] > first:
                self._anchors[key] = view.stamps[key]
                offsets[key] -= 1
        return offsets

    def unsure(self, keys: Iterable[Key]) -> bool:
        """Whether the last record folded of one of these has not been read again yet."""
        return not self._anchors.keys().isdisjoint(keys)

    def passed(self, key: Key, following: int) -> None:
        """Note that there is no record up to ``following``."""
        self._next[key] = following
        self._anchors.pop(key, None)

    async def check(
        self, fetched: Mapping[Key, Sequence[LogRecord]]
    ) -> tuple[dict[Key, Sequence[LogRecord]], dict[Key, Doubt]]:
        """Give what may be folded, and why the rest does not follow on its view.

        Raises ``LogUnavailable`` where Kafka would have to be asked and does not answer.
        """
        good: dict[Key, Sequence[LogRecord]] = {}
        bad: dict[Key, Doubt] = {}
        for key, records in fetched.items():
            if key not in self._next or not records:
                continue
            rest, why = self._after_anchor(key, records)
            if rest and not why:
                why = await self._jump(key, rest[0].offset)
            if why:
                bad[key] = why
            elif rest:
                good[key] = rest
                self._next[key] = rest[-1].offset + 1
        return good, bad

    def _after_anchor(self, key: Key, records: Sequence[LogRecord]) -> tuple[Sequence[LogRecord], Doubt | None]:
        stamp, head = self._anchors.pop(key, None), records[0]
        if stamp is None or head.offset != self._next[key] - 1:
            return records, None
        if head.timestamp != stamp:
            other = (
                f"{_place(key)} has another record at {head.offset} than was read: it has lost its end and grown again"
            )
            return (), Doubt(other, log_changed=True)
        return records[1:], None

    async def _jump(self, key: Key, offset: int) -> Doubt | None:
        following = self._next[key]
        if offset < following:
            again = f"{_place(key)} was read up to {following} and goes on at {offset}: it was made again or has lost its end"
            return Doubt(again, log_changed=True)
        if offset > following:
            first, _ = (await self._bounds([key]))[key]
            if first > following:
                return _taken(key, following, first)
        return None


def _taken(key: Key, following: int, first: int) -> Doubt:
    return Doubt(f"{_place(key)} was read up to {following} and begins at {first} now: retention took what is between")


def _place(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _places(keys: Iterable[Key]) -> str:
    return ", ".join(sorted(map(_place, keys)))


def _names(logs: Mapping[str, str]) -> str:
    return ", ".join(sorted(logs))
