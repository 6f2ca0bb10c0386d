import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from consumer.kafka.errors import ViewUnusable
from consumer.kafka.view import View

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY);"


def things(view: View) -> list[str]:
    return [row[0] for row in view.connection.execute("SELECT name FROM things ORDER BY name")]


def test_rows_and_offsets_are_found_again(tmp_path: Path) -> None:
    view = View(tmp_path / "sub" / "0.sqlite", SCHEMA, cluster_id="c")
    with view.transaction({("t", 0): 5}) as connection:
        connection.execute("INSERT INTO things VALUES ('a')")
    view.close()
    again = View(tmp_path / "sub" / "0.sqlite", SCHEMA, cluster_id="c")
    assert (things(again), again.offsets) == (["a"], {("t", 0): 5})
    again.close()


def test_rows_and_offsets_change_together_or_not_at_all(tmp_path: Path) -> None:
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")

    def fail_halfway() -> None:
        with view.transaction({("t", 0): 5}) as connection:
            connection.execute("INSERT INTO things VALUES ('a')")
            connection.execute("INSERT INTO things VALUES ('a')")

    with pytest.raises(sqlite3.IntegrityError):
        fail_halfway()
    assert (things(view), view.offsets) == ([], {})
    with view.transaction({}) as connection:  # and the file can be written on
        connection.execute("INSERT INTO things VALUES ('b')")
    assert things(view) == ["b"]
    view.close()


def test_a_disk_that_is_full_is_told_of_with_the_way_out_and_loses_nothing(tmp_path: Path) -> None:
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    with view.transaction({("t", 0): 5}) as connection:
        connection.execute("INSERT INTO things VALUES ('a')")
    (pages,) = view.connection.execute("PRAGMA page_count").fetchone()
    view.connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    def write_much() -> None:
        with view.transaction({("t", 0): 1_000}) as connection:
            connection.executemany("INSERT INTO things VALUES (?)", [(f"{n:0500}",) for n in range(1_000)])

    with pytest.raises(ViewUnusable, match=r"0\.sqlite cannot be used \(.*full\): make room on the disk of data_dir"):
        write_much()
    assert (things(view), view.offsets) == (["a"], {("t", 0): 5})
    view.close()
    again = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    assert (things(again), again.offsets) == (["a"], {("t", 0): 5})
    again.close()


def test_a_file_that_cannot_be_opened_is_told_of_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "0.sqlite").mkdir()
    with pytest.raises(ViewUnusable, match=r"0\.sqlite cannot be used \(unable to open .*ulimit -n.*Nothing is lost"):
        View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")


def test_a_file_that_something_else_has_locked_is_not_thrown_away(tmp_path: Path) -> None:
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    with view.transaction({("t", 0): 5}) as connection:
        connection.execute("INSERT INTO things VALUES ('a')")
    with closing(sqlite3.connect(tmp_path / "0.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        view.connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(ViewUnusable, match="end what else works on the file"), view.transaction({}):
            pass
    assert things(view) == ["a"]
    view.close()


@pytest.mark.parametrize("change", ["cluster", "schema", "garbage", "truncated"])
def test_a_file_that_cannot_be_trusted_is_built_anew(tmp_path: Path, change: str) -> None:
    path = tmp_path / "0.sqlite"
    view = View(path, SCHEMA, cluster_id="c")
    with view.transaction({("t", 0): 5}) as connection:
        connection.execute("INSERT INTO things VALUES ('a')")
    view.close()
    if change == "garbage":
        path.write_bytes(b"this is no database" * 500)
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:5_000])
    schema = SCHEMA + "CREATE TABLE IF NOT EXISTS more (x)" if change == "schema" else SCHEMA
    again = View(path, schema, cluster_id="another" if change == "cluster" else "c")
    assert (things(again), again.offsets) == ([], {})
    again.close()
