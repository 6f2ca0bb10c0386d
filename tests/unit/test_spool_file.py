import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from consumer.ingest import spool_file
from consumer.ingest.spool_file import SpoolFile
from consumer.kafka.errors import SpoolUnusable
from consumer.kafka.only_here import held_if_free
from consumer.kafka.producer import OutRecord

HEADERS = (("v", b"1"), ("traceparent", b"00-1-2-01"))


def record(n: int, size: int = 10) -> OutRecord:
    return OutRecord("call-events", n % 3, b"acme/%d" % n, b"%d" % n + b"x" * size, HEADERS)


@contextmanager
def opened(path: Path) -> Iterator[SpoolFile]:
    with closing(SpoolFile(path)) as file:
        yield file


def test_what_was_kept_is_found_again_as_it_was_and_in_order(tmp_path: Path) -> None:
    records = [record(n) for n in range(20)]
    with opened(tmp_path / "0.sqlite") as file:
        file.add(records[:12])
        file.add(records[12:])
    with opened(tmp_path / "0.sqlite") as file:
        assert [kept for _, kept in file.read(0)] == records
        assert (file.records, file.size_bytes) == (20, sum(one.size_bytes for one in records))


def test_what_is_struck_off_is_gone_and_what_was_refused_comes_again_after_the_next_start(tmp_path: Path) -> None:
    with opened(tmp_path / "0.sqlite") as file:
        file.add([record(n) for n in range(4)])
        there = file.read(0)
        file.strike_off(there[:2], there[2:3])
        assert [kept for _, kept in file.read(0)] == [record(3)]
        assert (file.records, file.size_bytes) == (2, 2 * record(3).size_bytes)
    with opened(tmp_path / "0.sqlite") as file:
        assert [kept for _, kept in file.read(0)] == [record(2), record(3)]


def test_so_much_is_read_at_once_as_memory_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_file, "READ_AT_ONCE_BYTES", 5_000)
    with opened(tmp_path / "0.sqlite") as file:
        file.add([record(n, size=2_000) for n in range(10)])
        assert [kept.key for _, kept in file.read(0)] == [b"acme/0", b"acme/1", b"acme/2"]
        monkeypatch.setattr(spool_file, "READ_AT_ONCE", 2)
        assert len(file.read(0)) == 2


def test_a_file_that_is_empty_again_gives_its_room_back(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    with opened(path) as file:
        file.add([record(n, size=10_000) for n in range(100)])
        while there := file.read(0):
            file.strike_off(there, [])
        assert (file.records, file.size_bytes) == (0, 0)
        assert sum(one.stat().st_size for one in tmp_path.iterdir()) < 100_000


def test_what_processes_left_that_are_no_more_is_taken_over_and_what_others_hold_is_not(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        with opened(tmp_path / f"{n}.sqlite") as file:
            file.add([record(10 * n), record(10 * n + 1)])
    with held_if_free(tmp_path / "2.sqlite") as is_free, opened(tmp_path / "0.sqlite") as file:
        assert is_free
        file.add([record(0)])
        file.take_over_others()
        assert [kept for _, kept in file.read(0)] == [record(n) for n in (0, 10, 11, 30, 31)]
        assert file.records == 5
    assert sorted(path.name for path in tmp_path.glob("*.sqlite*")) == ["0.sqlite", "2.sqlite"]


def test_a_damaged_file_is_kept_aside_and_another_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "0.sqlite"
    with opened(path) as file:
        file.add([record(n, size=5_000) for n in range(20)])
    spoilt = bytearray(path.read_bytes())
    spoilt[4_096:12_288] = b"\xff" * 8_192
    path.write_bytes(spoilt)
    with opened(path) as file:
        assert file.records == 0
        file.add([record(1)])
    (aside,) = tmp_path.glob("0.sqlite.damaged-*")
    assert aside.read_bytes() == spoilt
    assert f"it is kept as {aside}" in caplog.text


def test_what_only_the_journal_of_a_damaged_file_holds_is_kept_aside_too(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    path = tmp_path / "killed" / "0.sqlite"
    with opened(tmp_path / "0.sqlite") as file:
        file.add([record(n, size=5_000) for n in range(20)])
        file._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        file.add([OutRecord("call-events", 0, b"acme/last", b"told last")])
        for suffix in ("", "-wal"):  # as a process that is killed leaves them
            shutil.copy(tmp_path / f"0.sqlite{suffix}", f"{path}{suffix}")
    spoilt = bytearray(path.read_bytes())
    assert b"told last" not in spoilt
    spoilt[8_192:40_960] = b"\xff" * 32_768
    path.write_bytes(spoilt)
    with opened(path) as file:
        assert file.records == 0
    assert any(b"told last" in aside.read_bytes() for aside in path.parent.glob("0.sqlite.damaged-*"))


def test_what_cannot_be_taken_over_stays_where_it_is(tmp_path: Path) -> None:
    with opened(tmp_path / "1.sqlite") as file:
        file.add([record(n, size=2_000) for n in range(50)])
    with opened(tmp_path / "0.sqlite") as file:
        file._connection.execute("PRAGMA max_page_count = 3")  # as a disk that is full
        with pytest.raises(SpoolUnusable, match="make room on the disk of data_dir"):
            file.take_over_others()
    with opened(tmp_path / "1.sqlite") as file:
        assert file.records == 50


def test_a_file_that_cannot_be_opened_is_no_damage_and_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match=r"0\.sqlite cannot be used.*data_dir.*and start again\. Webhooks wait"):
        SpoolFile(tmp_path / "not there" / "0.sqlite")


def test_what_cannot_be_written_leaves_what_is_there_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path / "0.sqlite") as file:
        file.add([record(1)])
        file._connection.execute("PRAGMA max_page_count = 3")  # as a disk that is full
        with pytest.raises(sqlite3.OperationalError, match="full"):
            file.add([record(n, size=2_000) for n in range(50)])
        assert [kept for _, kept in file.read(0)] == [record(1)]
        assert file.records == 1
