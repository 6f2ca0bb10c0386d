import sqlite3
from pathlib import Path

import pytest

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
