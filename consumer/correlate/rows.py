"""Rows of calls that are to be written, sorted by what of them changes: each index that stays as it is costs nothing."""

import sqlite3
from typing import NamedTuple

from consumer.model.calls import Call
from consumer.model.status import Status

ONGOING = Status.ONGOING
NEW = "INSERT INTO calls (id, hash, cohort, number, due, state) VALUES (?, ?, ?, ?, ?, ?)"
OVER = "INSERT INTO calls (id, hash, due, state) VALUES (?, ?, ?, ?)"
STAYS = "UPDATE calls SET state = ? WHERE id = ?"
ENDED = "UPDATE calls SET cohort = NULL, due = ?, state = ? WHERE id = ?"
MOVED = "UPDATE calls SET cohort = ?, number = ?, due = ?, state = ? WHERE id = ?"

State = bytearray
"""A call as it is stored. For ``bytes``, as for None, sqlite3 looks for an adapter each time, as long as the rest takes."""


class Rows(NamedTuple):
    """New rows, those of calls whose whole life was heard of at once, and changed ones.

    ``stays``: nothing else changes. ``ended``: by far the most frequent change; it leaves out the number, which would be
    indexed anew even where it stays. ``moved``: anything else.
    """

    new: list[tuple[int, int, int | None, int | None, int, State]]
    over: list[tuple[int, int, int, State]]
    stays: list[tuple[State, int]]
    ended: list[tuple[int, State, int]]
    moved: list[tuple[int | None, int | None, int, State, int]]

    def hashes(self) -> list[int]:
        """The hashes of the new rows."""
        return [row[1] for row in self.new] + [row[1] for row in self.over]

    def numbers(self) -> list[int]:
        """The numbers that rows are found by from now on."""
        found = [row[3] for row in self.new] + [row[1] for row in self.moved]
        return [number for number in found if number is not None]

    def write(self, connection: sqlite3.Connection) -> None:
        """Write them into the open transaction."""
        connection.executemany(NEW, self.new)
        connection.executemany(OVER, self.over)
        connection.executemany(STAYS, self.stays)
        connection.executemany(ENDED, self.ended)
        connection.executemany(MOVED, self.moved)


def is_over(call: Call) -> bool:
    standing = call.progress.standing
    return not standing.terminable and standing.status is not ONGOING


def ends(before: Call, call: Call) -> bool:
    """Whether a call ends with nothing else changing that its row is found by, as nearly every call does."""
    return not is_over(before) and is_over(call) and before.number == call.number


def stays(before: Call, call: Call) -> bool:
    """Whether what a call's row is found by is sure to be as it was."""
    return (
        before.number is call.number
        and before.campaign_id is call.campaign_id
        and before.agent_id is call.agent_id
        and before.kept_at == call.kept_at
        and not is_over(before)
        and not is_over(call)
    )
