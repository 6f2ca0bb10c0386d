"""One partition of ``scope-totals``: the sums of its scopes, and the rules over them. The owner of partition 0 also admits.

There is one owner of partition 0, so one place decides whether a rule's order comes into force.
"""

import logging
import sqlite3
from collections.abc import Sequence

import msgspec

from consumer.guard import ask_matches, counts, late, notify, sums
from consumer.guard.admission import Admission, Judging
from consumer.guard.asking import Asking, RulesOfGuard
from consumer.guard.counts import Counts
from consumer.guard.late import Late
from consumer.guard.sums import Sums
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.view import View
from consumer.model.counts import OrderStopped, Said, decode_said, is_said
from consumer.model.matches import is_match
from consumer.model.totals import decode_totals

logger = logging.getLogger(__name__)

SCHEMA = sums.SCHEMA + counts.SCHEMA + late.SCHEMA + ask_matches.SCHEMA + notify.SCHEMA

__all__ = ["SCHEMA", "GuardShard"]


class GuardShard:
    """Adds totals up, asks the rules over them, and admits proposed orders."""

    def __init__(
        self,
        view: View,
        *,
        feed: OrderFeed,
        admits: bool,
        judging: Judging | None = None,
        rules: RulesOfGuard | None = None,
    ) -> None:
        self.view = view
        self.sums = Sums(view.connection)
        self._counts = Counts(view.connection)
        self._late = Late(view.connection)
        self._admission = Admission(feed, self._counts, self._late, judging or Judging()) if admits else None
        self._asking = Asking(view.connection, self.sums, feed, rules) if rules else None

    def take(self, judging: Judging, rules: RulesOfGuard) -> None:
        """Go on with other limits and rules."""
        if self._admission:
            self._admission.judging = judging
        if self._asking:
            self._asking.take(rules)

    @property
    def dirty(self) -> bool:
        return (
            self.sums.dirty
            or self._counts.dirty
            or self._late.dirty
            or (self._asking is not None and self._asking.dirty)
        )

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        for record in records:
            if record.value is None:
                continue
            try:
                if is_said(record.key):
                    self._note(decode_said(record.value), record.timestamp)
                elif is_match(record.value):
                    if self._asking:
                        self._asking.note_match(record.value, live=live)
                else:
                    totals = decode_totals(record.value)
                    if self.sums.put(totals) and self._asking:
                        self._asking.note_totals(totals, record.timestamp / 1_000, live=live)
            except msgspec.DecodeError as error:
                logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
        return []

    def _note(self, said: Said, at: int) -> None:
        """Take up what a correlator says of orders."""
        if isinstance(said, OrderStopped):
            self._late.put(said)
        else:
            self._counts.put(said, at)

    def go_live(self, *, caught_up: bool) -> None:
        """Ask the rules again about what has changed lately: nobody may have come to it before the last end."""
        if caught_up and self._asking:
            self._asking.look_again()

    @property
    def urgent(self) -> bool:
        return True

    def looks_into_rows(self, now: float) -> bool:  # noqa: ARG002 -- the worker's protocol
        return True

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Ask the rules about what has changed, and judge what rules have proposed."""
        asked, more = self._asking.work(now) if self._asking else ([], False)
        judged, left = self._admission.work(now) if self._admission else ([], False)
        return asked + judged, more or left

    def before_commit(self) -> list[OutRecord]:
        return []

    def save(self, connection: sqlite3.Connection) -> bool:
        self.sums.save(connection)
        self._counts.save(connection)
        self._late.save(connection)
        if self._asking:
            self._asking.save(connection)
        return False
