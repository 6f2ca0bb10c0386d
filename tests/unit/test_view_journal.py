"""A view whose journal is damaged holds an earlier moment, with the offset of that moment."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from consumer.kafka.view import View

SCHEMA = "CREATE TABLE IF NOT EXISTS folded (n INTEGER PRIMARY KEY, what TEXT);"
RECORDS = 40
PAGE_BYTES = 4_096


def cut(journal: bytearray, at: int) -> bytearray:
    return journal[:at]


def flipped(journal: bytearray, at: int) -> bytearray:
    journal[at] ^= 1
    return journal


def zeroed(journal: bytearray, at: int) -> bytearray:
    journal[at : at + PAGE_BYTES] = bytes(len(journal[at : at + PAGE_BYTES]))
    return journal


def folded(view: View) -> tuple[int, int]:
    """How many records are in the rows, and which is the next."""
    count, following = view.connection.execute("SELECT count(*), coalesce(max(n) + 1, 0) FROM folded").fetchone()
    return count, following


@pytest.mark.parametrize("damaged", [cut, flipped, zeroed])
def test_rows_and_offset_are_of_one_moment_wherever_the_journal_is_damaged(
    tmp_path: Path, damaged: Callable[[bytearray, int], bytearray]
) -> None:
    path = tmp_path / "0.sqlite"
    view = View(path, SCHEMA, cluster_id="c")
    for n in range(RECORDS):
        with view.transaction({("t", 0): n + 1}) as connection:
            connection.execute("INSERT INTO folded VALUES (?, ?)", (n, "x" * 700))
    file, journal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    chance, moments = Random(damaged.__name__), set()
    for n in range(40):
        copy = tmp_path / f"copy-{n}.sqlite"
        copy.write_bytes(file)
        Path(f"{copy}-wal").write_bytes(damaged(bytearray(journal), chance.randrange(len(journal))))
        found = View(copy, SCHEMA, cluster_id="c")
        offset = found.offsets.get(("t", 0), 0)
        assert folded(found) == (offset, offset)
        moments.add(offset)
        found.close()
    view.close()
    assert len(moments) > 10
    assert max(moments) <= RECORDS


def test_a_process_that_dies_in_a_transaction_leaves_the_moment_before(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    view = View(path, SCHEMA, cluster_id="c")
    with view.transaction({("t", 0): 1}) as connection:
        connection.execute("INSERT INTO folded VALUES (0, 'a')")
    half_way = sqlite3.connect(path, isolation_level=None)
    half_way.execute("BEGIN IMMEDIATE")
    half_way.execute("INSERT INTO folded VALUES (1, 'b')")
    half_way.close()
    view.close()
    again = View(path, SCHEMA, cluster_id="c")
    assert (folded(again), again.offsets) == ((1, 1), {("t", 0): 1})
    again.close()
