"""The controls of a process, stored beside its orders: few rows, all of them in memory too."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from consumer.model.controls import Alert, Control, Controls, Lever, RuleMode, RulesChanged

SCHEMA = """ -- controls.control: layout 1, msgpack of a control
CREATE TABLE IF NOT EXISTS controls (key BLOB PRIMARY KEY, control BLOB NOT NULL) WITHOUT ROWID;
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Lever | RuleMode | RulesChanged | Alert).decode


class ControlChange(NamedTuple):
    """What a record says of a control; None where it is a tombstone."""

    key: bytes
    control: Control | None


class StoredControls:
    """Controls in the order book's file. ``now`` is how they stand; read it anew each time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT key, control FROM controls").fetchall()
        self.now = Controls().with_all([(key, _decode(blob)) for key, blob in rows])

    def write(self, changes: Sequence[ControlChange]) -> Controls:
        """Write changes, in the order of their records, into the open transaction; gives how they stand with them."""
        for key, control in changes:
            if control is None or (isinstance(control, Alert) and not control.active):
                self._connection.execute("DELETE FROM controls WHERE key = ?", (key,))
            else:
                self._connection.execute("INSERT OR REPLACE INTO controls VALUES (?, ?)", (key, _encode(control)))
        return self.now.with_all(changes)
