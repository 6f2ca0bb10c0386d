"""What SQLite says when something around a file is wrong, said so that whoever reads it can mend it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consumer.kafka.errors import LogError, ViewUnusable

_PERMISSION = "let this process write to data_dir"
REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "make room on the disk of data_dir, or give data_dir another",
    sqlite3.SQLITE_IOERR: "look after the disk of data_dir, or give data_dir another",
    sqlite3.SQLITE_CANTOPEN: f"{_PERMISSION}, and have three files open for each partition it holds (ulimit -n)",
    sqlite3.SQLITE_READONLY: _PERMISSION,
    sqlite3.SQLITE_PERM: _PERMISSION,
    sqlite3.SQLITE_BUSY: "end what else works on the file",
    sqlite3.SQLITE_LOCKED: "end what else works on the file",
    sqlite3.SQLITE_NOMEM: "give this process more memory",
}
"""By primary result code; making the file anew would not help against any of these."""


@contextmanager
def remedy_named(
    path: Path, unusable: type[LogError] = ViewUnusable, more: str = "Nothing is lost, Kafka has it all"
) -> Iterator[None]:
    """Raise ``unusable`` where something around the file is wrong; what else is wrong goes on as it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        remedy = REMEDIES.get(primary_code(error))
        if remedy is None:
            raise
        raise unusable(f"{path} cannot be used ({error}): {remedy}, and start again. {more}") from error


def remedy_of(error: sqlite3.Error) -> str:
    """Say what to do about an error of a file."""
    return REMEDIES.get(primary_code(error), "look after the disk of data_dir")


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; the extended one has more in its upper bytes."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
