"""Moving what views have written from their journals into their files, in a thread.

SQLite would do it within a COMMIT, and the event loop would stand still meanwhile: a tenth of a second and more for a
view of a hundred megabytes. A thread with a connection of its own does it beside the commits instead.
"""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

logger = logging.getLogger(__name__)

JOURNAL = "-wal"
DUE_BYTES = 4 * 1024 * 1024
EVERY_SECONDS = 0.5


async def checkpoint_views(folder: Path) -> None:
    """Keep the journals of all views below ``folder`` short, until cancelled."""
    done: dict[Path, int] = {}
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        for view, written_at in (await asyncio.to_thread(due, folder)).items():
            if done.get(view) == written_at:
                continue  # it keeps its length until the next commit begins it anew
            try:
                await asyncio.to_thread(checkpoint, view)
            except sqlite3.Error as error:  # the next commit that finds the journal far too long does it itself
                logger.warning("the journal of %s stays as it is: %s", view, error)
            done[view] = written_at


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
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
