"""The disks of the simulated nodes: SQLite in memory, so that a view outlives the process that wrote it.

A process dies before or after a commit, never within it: that is SQLite's own promise. After a loss of power the file may be
the one of some commits ago, which is what WAL with ``synchronous = NORMAL`` promises; or it may be gone.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

Touch = Callable[[str], None]


class File(sqlite3.Connection):
    """One view's file, and the only connection there ever is to it."""

    touch: Touch
    role: str
    on_commit: Callable[["File"], None] | None = None
    synced: bytes | None = None
    script = ""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return super().execute(sql, *arguments)
        self.touch(f"before the view's commit of {self.role}")
        cursor = super().execute(sql)
        if self.on_commit:
            self.on_commit(self)
        self.touch(f"after the view's commit of {self.role}")
        return cursor

    def executescript(self, script: str) -> sqlite3.Cursor:
        """Make the tables, unless the same script has made them before: it costs as much as all else that opens a view."""
        if script == self.script:
            return self.cursor()
        self.script = script
        return super().executescript(script)

    def close(self) -> None:
        """Closing is no event: the next process opens the file again."""

    def empty(self) -> None:
        """Make it a file that has never been written to."""
        if self.in_transaction:
            self.rollback()
        for (name,) in super().execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            super().execute(f"DELETE FROM {name}")
        self.on_commit = self.synced = None


_spare: dict[str, list[File]] = {}
"""Files of earlier worlds by the role whose tables they have: making tables costs more than a whole small world does."""


class Disk:
    """The views of one node, by path."""

    def __init__(self, random: Random, *, loses_power: bool = False) -> None:
        self._random = random.random
        self._files: dict[Path, File] = {}
        self._loses_power = loses_power

    def connect_for(self, touch: Touch) -> Callable[..., sqlite3.Connection]:
        """Give what opens files for one process: with it they can be written until that process is dead."""

        def connect(path: Path, **options: Any) -> sqlite3.Connection:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = _spare_file(path.parent.name) or sqlite3.connect(
                    ":memory:", factory=File, **options
                )
            if file.in_transaction:
                file.rollback()
            file.touch, file.role = touch, path.parent.name
            file.on_commit = self._maybe_sync if self._loses_power else None
            return file

        return connect

    def held(self, role: str) -> list[int]:
        """The partitions of which there is a view."""
        return sorted(int(path.stem) for path in self._files if path.parent.name == role)

    def fall_back(self) -> None:
        """Make every file what it was when it was last synced."""
        for path, file in list(self._files.items()):
            if file.synced is None:
                self._scrap(path)
                continue
            if file.in_transaction:
                file.rollback()
            file.deserialize(file.synced)

    def lose_one(self) -> None:
        """Lose any one file."""
        if self._files:
            self._scrap(list(self._files)[int(self._random() * len(self._files))])

    def lose_role(self, role: str) -> None:
        """Lose the files of one role."""
        for path in [path for path in self._files if path.parent.name == role]:
            self._scrap(path)

    def lose(self) -> None:
        """Lose all files."""
        for path in list(self._files):
            self._scrap(path)

    def _maybe_sync(self, file: File) -> None:
        if self._random() < 0.3:
            file.synced = file.serialize()

    def _scrap(self, path: Path) -> None:
        _spare.setdefault(path.parent.name, []).append(self._files.pop(path))


def _spare_file(role: str) -> File | None:
    """Take a file and empty it only now: the dead write what they still held as their world is buried."""
    spare = _spare.get(role)
    if not spare:
        return None
    file = spare.pop()
    file.empty()
    return file
