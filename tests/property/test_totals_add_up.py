"""Totals: wherever a worker crashes, or loses its view, the sums equal a recount of the log."""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from consumer.correlate.calls import SCHEMA as CALLS_SCHEMA
from consumer.correlate.calls import Calls
from consumer.correlate.totals import SCHEMA as TOTALS_SCHEMA
from consumer.correlate.totals import Totals
from consumer.guard.sums import SCHEMA as SUMS_SCHEMA
from consumer.guard.sums import Sums
from consumer.kafka.view import View
from consumer.model.calls import MILLION, Call, fold
from consumer.model.events import CallEvent, Position
from consumer.model.status import EventType, Status
from consumer.model.totals import NAMES, Measure, ScopeTotals, as_amounts, count, decode_totals, encode_totals
from tests.unit.values import ACCOUNT, event

LONG_AFTER = 10_000 * 60
SCORE = Measure("score", ("analysis", "score"))
SCHEMA = CALLS_SCHEMA + TOTALS_SCHEMA


class Source:
    """A partition's worker, as far as its totals go: folds, saves, publishes, and may die between any two of these."""

    def __init__(self, partition: int, log: list[CallEvent], folder: Path) -> None:
        self._partition = partition
        self._log = log
        self._path = folder / f"{partition}.sqlite"
        self._committed = 0
        self.open()

    def open(self) -> None:
        self.view = View(self._path, SCHEMA, cluster_id="c")
        self.calls = Calls(self.view.connection)
        self.totals = Totals(self.view.connection, source=self._partition, measures=[SCORE], numbers=True)
        self.next = self.view.offsets.get(("call-events", self._partition), 0)

    def crash(self) -> None:
        """Lose what was not saved."""
        self.view.close()
        self.open()

    def lose_view(self) -> None:
        """Lose the file too, and read the log again, silently up to what was committed."""
        self.view.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self.open()
        self.fold(self._committed, live=False)
        self.save()

    def fold(self, up_to: int, *, live: bool = True) -> None:
        self.totals.live(live)
        for one in self._log[self.next : up_to]:
            before = self.calls.get(one.account, one.call_id)
            after = fold(before, one)
            if after is not before:
                self.totals.add([(one, before, after, one.logged_at)])
                self.calls.put(after, before)
        self.next = max(self.next, min(up_to, len(self._log)))

    def save(self) -> None:
        with self.view.transaction({("call-events", self._partition): self.next}) as connection:
            self.calls.save(connection)
            self.totals.save(connection)

    def publish(self) -> list[bytes]:
        """Say what is unsaid, and only then commit; a crash before the note of it means that it is said again."""
        said: list[bytes] = []
        while told := [encode_totals(totals) for totals in self.totals.to_publish()]:
            said += told
            self.save()
        self._committed = max(self._committed, self.next)
        return said


class Step(NamedTuple):
    partition: int
    what: str
    much: int


@st.composite
def logs(draw: st.DrawFn) -> list[list[CallEvent]]:
    """Events of a few calls on two partitions, over some minutes, with repetitions."""
    partitions: list[list[CallEvent]] = [[], []]
    logged_at = 60_000.0
    for n in range(draw(st.integers(1, 25))):
        call = draw(st.integers(0, 5))
        status = draw(st.sampled_from([None, *Status]))
        logged_at += draw(st.sampled_from([0.0, 1.0, 45.0, 400.0]))
        log = partitions[call % 2]
        told = event(
            f"e{draw(st.integers(0, n))}",
            status,
            call_id=f"call-{call}",
            type=draw(st.sampled_from(EventType)),
            attempt=draw(st.sampled_from([None, 0, 1])),
            campaign_id=draw(st.sampled_from([None, f"campaign-{call % 3}"])),
            number=draw(st.sampled_from([None, f"+1555000000{call % 2}"])),
            duration_seconds=draw(st.sampled_from([None, 0.1, 33.333])),
            cost=draw(st.sampled_from([None, 0.1, 0.2])),
            connected=draw(st.booleans()),
            analysis=draw(st.sampled_from([{}, {"score": 0.1}, {"score": "none"}])),
            logged_at=logged_at,
            position=Position("call-events", call % 2, len(log)),
        )
        log.append(told)
    return partitions


STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, 1),
        st.sampled_from(["fold", "fold", "save", "publish", "crash", "lose view"]),
        st.integers(1, 30),
    ),
    min_size=4,
    max_size=16,
)


def play(sources: list[Source], steps: Iterable[Step]) -> list[bytes]:
    """Let the workers live through ``steps`` and then finish; gives what they have published, in order."""
    published: list[bytes] = []
    for step in steps:
        source = sources[step.partition]
        if step.what == "fold":
            source.fold(source.next + step.much)
        elif step.what == "save":
            source.save()
        elif step.what == "publish":
            source.save()  # as the worker does before it lets a shard work
            published += source.publish()
        elif step.what == "crash":
            source.crash()
        else:
            source.lose_view()
    for source in sources:
        source.fold(LONG_AFTER)
        source.save()
        published += source.publish()
    return published


def recount(log: Iterable[CallEvent]) -> tuple[Counter[tuple[str, int]], int, Counter[str]]:
    """Count anew what happened to one account: amounts by scope and index, who waits, and the scores by scope."""
    amounts: Counter[tuple[str, int]] = Counter()
    scores: Counter[str] = Counter()
    calls: dict[str, Call] = {}
    for one in log:
        before = calls.get(one.call_id)
        after = calls[one.call_id] = fold(before, one)
        if after is before:
            continue
        scopes = [f"{ACCOUNT}/account/"]
        scopes += [f"{ACCOUNT}/campaign/{after.campaign_id}"] if after.campaign_id else []
        scopes += [f"{ACCOUNT}/number/{after.number}"] if after.number else []
        added = [0] * len(NAMES)
        count(added, before, after, one)
        for scope in scopes:
            for index, amount in enumerate(added):
                amounts[scope, index] += amount
            scores[scope] += SCORE.of(one) or 0
    return amounts, sum(call.terminable for call in calls.values()), scores


@given(logs(), STEPS)
def test_wherever_a_worker_dies_the_sums_equal_a_recount(partitions: list[list[CallEvent]], steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [Source(partition, log, folder) for partition, log in enumerate(partitions)]
        published = play(sources, steps)
        view = View(folder / "guard.sqlite", SUMS_SCHEMA, cluster_id="c")
        sums = Sums(view.connection)
        for value in (*published, *published[::2]):
            sums.put(decode_totals(value))
        with view.transaction({}) as connection:
            sums.save(connection)
        counted = [recount(log) for log in partitions]
        amounts, scores = counted[0][0] + counted[1][0], counted[0][2] + counted[1][2]
        for scope in {f"{ACCOUNT}/account/", *(scope for scope, _ in amounts), *scores}:
            found = sums.within(scope, 60, 2**40)
            told = {index: amount for index, amount in enumerate(as_amounts(found.figures)) if amount}
            assert told == {index: amount for (of, index), amount in amounts.items() if of == scope and amount}
            assert round(found.sums.get("score", 0) * MILLION) == scores[scope]
        assert sums.within(f"{ACCOUNT}/account/", 60, 2**40).open == counted[0][1] + counted[1][1]
        for opened in (view, *(source.view for source in sources)):
            opened.close()


def test_a_record_of_totals_reads_as_it_was_written() -> None:
    totals = ScopeTotals(ACCOUNT, "campaign", "k", 3, 17, 60, None, {"queued": 2, "cost": 0.15}, {"score": 0.5})
    assert decode_totals(encode_totals(totals)) == totals
    assert totals.key == f"{ACCOUNT}/campaign/k/3/60".encode()


COUNTS = st.lists(
    st.tuples(
        st.integers(1, 12), st.integers(0, 2), st.integers(0, 50), st.integers(1, 12), st.integers(0, 8), st.booleans()
    ),
    min_size=1,
    max_size=40,
)


@given(COUNTS)
def test_a_window_that_moves_on_adds_up_to_what_a_fresh_look_gives(
    steps: list[tuple[int, int, int, int, int, bool]],
) -> None:
    """Each step: a count of a minute by a source, then a look at the window of so many minutes up to another minute."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SUMS_SCHEMA)
    kept = Sums(connection)
    for offset, (minute, source, failed, last, length, save) in enumerate(steps):
        figures, own = {"failed": failed, "cost": failed / 100}, {"score": failed / 10}
        kept.put(ScopeTotals(ACCOUNT, "campaign", "k", source, offset, minute * 60, None, figures, own))
        if save:
            kept.save(connection)
        first = max(60, (last - length) * 60)
        found = kept.within(f"{ACCOUNT}/campaign/k", first, last * 60)
        kept.save(connection)
        assert found == Sums(connection).within(f"{ACCOUNT}/campaign/k", first, last * 60)
    connection.close()
