"""Cohorts: calls of one campaign and one agent. One index over the cohorts of waiting calls finds those of either.

A second index would have to be changed with nearly every event. Everything is kept by its CRC-32, which gives candidates.
"""

import sqlite3
from typing import Final
from zlib import crc32

SCHEMA = """
CREATE TABLE IF NOT EXISTS cohorts (
    campaign INTEGER NOT NULL, agent INTEGER NOT NULL, cohort INTEGER NOT NULL, PRIMARY KEY (campaign, agent, cohort)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cohorts_by_agent ON cohorts (agent);
"""
NO_NAME = -1
AT_HAND = 500
SWEPT_AT_ONCE = 100
BEGINNING: Final = (NO_NAME - 1, 0, 0)

_Row = tuple[int, int, int]
"""Campaign, agent and cohort."""


class Cohorts:
    """The cohorts there are in one partition."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str | None, str | None], int | None] = {}
        self._new: list[_Row] = []
        self._swept = BEGINNING

    def of(self, account: str, campaign_id: str | None, agent_id: str | None) -> int | None:
        """Give the cohort of a call that is about to be saved; None where it has neither campaign nor agent."""
        name = (account, campaign_id, agent_id)
        try:
            return self._known[name]
        except KeyError:
            return self._first_of(name)

    def found_by(self, kind: str, account: str, name: str) -> list[int]:
        """Give the cohorts that a campaign's or an agent's calls may be in."""
        column = {"campaign": "campaign", "agent": "agent"}[kind]
        rows = self._connection.execute(
            f"SELECT cohort FROM cohorts WHERE {column} = ?",  # noqa: S608 -- our own words
            (hash_of(kind, account, name),),
        )
        return [cohort for (cohort,) in rows]

    def save(self, connection: sqlite3.Connection) -> None:
        """Write those that are new into the transaction that their calls are written in."""
        connection.executemany("INSERT OR IGNORE INTO cohorts VALUES (?, ?, ?)", self._new)
        self._new.clear()

    def sweep(self, connection: sqlite3.Connection) -> None:
        """Go on forgetting those that no call waits in, a few at a time; the calls themselves have been written."""
        rows = connection.execute(
            "SELECT campaign, agent, cohort FROM cohorts WHERE (campaign, agent, cohort) > (?, ?, ?)"
            " ORDER BY campaign, agent, cohort LIMIT ?",
            (*self._swept, SWEPT_AT_ONCE),
        ).fetchall()
        self._swept = rows[-1] if len(rows) == SWEPT_AT_ONCE else BEGINNING
        connection.executemany(
            "DELETE FROM cohorts WHERE campaign = ? AND agent = ? AND cohort = ?"
            " AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.cohort = cohorts.cohort)",
            rows,
        )
        self._known.clear()  # one that is heard of again is new

    def _first_of(self, name: tuple[str, str | None, str | None]) -> int | None:
        account, campaign_id, agent_id = name
        cohort: int | None = None
        if campaign_id or agent_id:
            cohort = crc32(f"{account}/{campaign_id or ''}/{agent_id or ''}".encode())
            campaign = hash_of("campaign", account, campaign_id) if campaign_id else NO_NAME
            agent = hash_of("agent", account, agent_id) if agent_id else NO_NAME
            self._new.append((campaign, agent, cohort))
        if len(self._known) >= AT_HAND:
            self._known.clear()
        self._known[name] = cohort
        return cohort


def hash_of(kind: str, account: str, name: str) -> int:
    """Give what stands in a column for the name of a campaign, an agent or a number."""
    return crc32(f"{kind}/{account}/{name}".encode())
