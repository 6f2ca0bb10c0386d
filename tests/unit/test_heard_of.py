import sqlite3
from zlib import crc32

import pytest

from consumer.correlate.heard_of import HeardOf

PARTITIONS = 64


@pytest.fixture
def view() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, hash INTEGER)")
    return connection


def of_one_partition(count: int, prefix: str) -> list[int]:
    """Hashes as those of the calls in one partition are: all with the same remainder."""
    found: list[int] = []
    n = 0
    while len(found) < count:
        if (hashed := crc32(f"{prefix}-{n}".encode())) % PARTITIONS == 5:
            found.append(hashed)
        n += 1
    return found


def keep(view: sqlite3.Connection, hashes: list[int]) -> None:
    view.executemany("INSERT INTO calls (hash) VALUES (?)", [(hashed,) for hashed in hashes])


def test_few_of_a_partition_are_taken_for_held_however_many_are(view: sqlite3.Connection) -> None:
    heard_of = HeardOf(view, "hash", 0)
    held, others = of_one_partition(30_000, "held"), of_one_partition(2_000, "other")
    for n in range(0, len(held), 1_000):
        keep(view, held[n : n + 1_000])
        heard_of.update(held[n : n + 1_000], n + 1_000)
    assert all(map(heard_of.may_hold, held))
    assert sum(map(heard_of.may_hold, others)) < 500


def test_what_was_forgotten_is_learnt_anew_without_what_is_no_more(
    view: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.correlate.heard_of.LEAST_MANY", 100)
    heard_of = HeardOf(view, "hash", 0)
    forgotten, held, new = (of_one_partition(n, name) for n, name in ((3_000, "old"), (1_000, "held"), (10, "new")))
    keep(view, forgotten + held)
    heard_of.update(forgotten + held, 4_000)
    assert sum(map(heard_of.may_hold, forgotten)) == len(forgotten)
    view.execute("DELETE FROM calls WHERE id <= ?", (len(forgotten),))
    keep(view, new)
    heard_of.update(new, 1_010)
    for _ in range(3):
        assert all(map(heard_of.may_hold, held + new))
        heard_of.read_on()
    assert all(map(heard_of.may_hold, held + new))
    assert sum(map(heard_of.may_hold, forgotten)) < 200
