"""Moving what views have written from their journals into their files, in a thread.

SQLite would do it within a COMMIT, and the event loop would stand still meanwhile: a tenth of a second and more for a
view of a hundred megabytes. A thread with a connection of its own does it beside the commits instead. It begins the journal
anew as well, since whoever writes first into one that is empty waits for the disk. A journal that is written to without a
pause can never begin anew, so whoever saves that much waits for the thread now and then.
"""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from consumer.kafka.disk import primary_code
from consumer.kafka.view import KEPT_JOURNAL_BYTES

logger = logging.getLogger(__name__)

JOURNAL = "-wal"
DUE_BYTES = 4 * 1024 * 1024
WAITED_FOR_BYTES = 32 * 1024 * 1024
EVERY_SECONDS = 0.5
ATTEMPTS = 3
NO_VERSION = 0
HEADER_BYTES = 32


async def checkpoint_views(folder: Path) -> None:
    """Keep the journals of all views below ``folder`` short, until cancelled."""
    done: dict[Path, int] = {}
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        for view, written_at in (await asyncio.to_thread(due, folder)).items():
            if done.get(view) == written_at:
                continue  # it keeps its length until the next commit begins it anew
            await _in_thread(view)
            done[view] = written_at


async def wait_for_journal(view: Path) -> None:
    """Have a journal begun anew that has become very long; the caller lets nobody write into the view meanwhile."""
    try:
        size = view.with_name(view.name + JOURNAL).stat().st_size
    except FileNotFoundError:
        return
    if size >= WAITED_FOR_BYTES:
        await _in_thread(view)


async def _in_thread(view: Path) -> None:
    try:
        await asyncio.to_thread(checkpoint, view)
    except sqlite3.Error as error:  # the next commit that finds the journal far too long does it itself
        logger.warning("the journal of %s stays as it is: %s", view, error)


def due(folder: Path) -> dict[Path, int]:
    """The views whose journal has become long, and when (ns) it was last written."""
    found = {}
    for journal in folder.glob(f"*/*.sqlite{JOURNAL}"):
        try:
            state = journal.stat()
        except FileNotFoundError:  # closed meanwhile
            continue
        if state.st_size >= DUE_BYTES:
            found[journal.with_name(journal.name.removesuffix(JOURNAL))] = state.st_mtime_ns
    return found


def checkpoint(view: Path) -> None:
    """Move what the journal of one view holds into its file, as far as nobody reads it; a view that is gone stays gone.

    Where all was moved and nobody else writes, the journal begins anew; in the course of some attempts that is likely.

    Raises:
        sqlite3.Error: the file cannot be opened or written.

    """
    try:
        connection = sqlite3.connect(f"file:{quote(str(view))}?mode=rw", uri=True, timeout=0.1)
    except sqlite3.OperationalError:
        if view.exists():
            raise
        return
    with closing(connection):
        connection.execute(f"PRAGMA journal_size_limit = {KEPT_JOURNAL_BYTES}")
        for _ in range(ATTEMPTS):
            began = _beginning_of_journal(view)
            _, written, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if moved == written:
                _write_nothing(connection)
            if _beginning_of_journal(view) != began:
                return  # moving what has been written since would empty it once more


def _write_nothing(connection: sqlite3.Connection) -> None:
    """Write what changes nothing, which begins a journal anew of which all was moved, unless somebody else writes."""
    try:
        connection.execute(f"PRAGMA user_version = {NO_VERSION}")
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_BUSY:
            raise


def _beginning_of_journal(view: Path) -> bytes:
    """Give the header of a view's journal, in which something differs at each beginning (sqlite.org/walformat.html)."""
    try:
        with view.with_name(view.name + JOURNAL).open("rb") as journal:
            return journal.read(HEADER_BYTES)
    except FileNotFoundError:
        return b""
