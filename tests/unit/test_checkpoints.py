"""The journals of views are emptied beside whoever writes them."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from consumer.kafka import checkpoints
from consumer.kafka.checkpoints import checkpoint, checkpoint_views, due, wait_for_journal
from consumer.kafka.view import View
from tests.patience import PATIENCE_SECONDS

WRITTEN_BYTES = 6_000_000
SCHEMA = "CREATE TABLE IF NOT EXISTS things (n INTEGER PRIMARY KEY, text TEXT);"


def written(path: Path) -> View:
    view = View(path, SCHEMA, cluster_id="c")
    with view.transaction({("topic", 0): 5}) as connection:
        connection.executemany("INSERT INTO things VALUES (?, ?)", [(n, "x" * 1_000) for n in range(6_000)])
    return view


async def test_a_long_journal_is_moved_into_its_file_while_the_view_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.01)
    path = tmp_path / "correlate" / "0.sqlite"
    view = written(path)
    assert list(due(tmp_path)) == [path]
    assert path.stat().st_size < WRITTEN_BYTES
    task = asyncio.create_task(checkpoint_views(tmp_path))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while path.stat().st_size < WRITTEN_BYTES:
            await asyncio.sleep(0.01)
    task.cancel()
    with view.transaction({("topic", 0): 6}) as connection:
        connection.execute("INSERT INTO things VALUES (9999, 'later')")
    view.close()
    again = View(path, SCHEMA, cluster_id="c")
    assert again.offsets == {("topic", 0): 6}
    assert again.connection.execute("SELECT count(*) FROM things").fetchone() == (6_001,)


def header(path: Path) -> bytes:
    return path.with_name(path.name + "-wal").read_bytes()[:32]


def test_the_next_commit_does_not_have_to_begin_the_journal_anew(tmp_path: Path) -> None:
    path = tmp_path / "correlate" / "0.sqlite"
    view = written(path)
    full = header(path)
    checkpoint(path)
    begun = header(path)
    assert begun != full
    assert due(tmp_path) == {}
    with view.transaction({("topic", 0): 6}) as connection:
        connection.execute("INSERT INTO things VALUES (9999, 'later')")
    assert header(path) == begun
    assert View(path, SCHEMA, cluster_id="c").offsets == {("topic", 0): 6}


async def test_whoever_writes_much_waits_for_the_journal_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "correlate" / "0.sqlite"
    await wait_for_journal(path)  # which is not there yet
    view = written(path)
    full = header(path)
    await wait_for_journal(path)
    assert header(path) == full, "it is not that long"
    monkeypatch.setattr(checkpoints, "WAITED_FOR_BYTES", 1_000_000)
    await wait_for_journal(path)
    assert header(path) != full
    assert due(tmp_path) == {}
    view.close()


def test_a_view_that_is_being_written_goes_on_undisturbed(tmp_path: Path) -> None:
    path = tmp_path / "correlate" / "0.sqlite"
    view = written(path)
    full = header(path)
    with view.transaction({("topic", 0): 6}) as connection:
        connection.execute("INSERT INTO things VALUES (9999, 'later')")
        checkpoint(path)
        assert header(path) == full
    view.close()
    again = View(path, SCHEMA, cluster_id="c")
    assert again.connection.execute("SELECT count(*) FROM things").fetchone() == (6_001,)


def test_a_short_journal_is_left_alone(tmp_path: Path) -> None:
    View(tmp_path / "correlate" / "0.sqlite", SCHEMA, cluster_id="c")
    assert due(tmp_path) == {}


def test_a_view_that_was_thrown_away_is_not_made_again(tmp_path: Path) -> None:
    checkpoint(tmp_path / "0.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "0.sqlite").write_bytes(b"no database" * 1_000)
    with pytest.raises(sqlite3.DatabaseError):
        checkpoint(tmp_path / "0.sqlite")
