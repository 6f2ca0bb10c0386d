"""One partition of ``terminations``: the ledger of its accounts."""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.ledger import SCHEMA as LEDGER_SCHEMA
from consumer.kafka.ledger import Ledger
from consumer.kafka.order_book import FROM_THE_FIRST, Place, StoredOrderBook
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.termination_records import records_in
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.accounts import Account
from consumer.model.orders import OrderRecord
from consumer.model.provider import Provider
from consumer.model.status import Status
from consumer.model.termination_codec import encode_request
from consumer.model.terminations import Attempt, Decision, Ended, Record, Result, State, Termination
from consumer.terminate import covered, endings, handover, metrics
from consumer.terminate.choosing import Chooser
from consumer.terminate.entries import closed
from consumer.terminate.handover import Standing, Standings
from consumer.terminate.next_step import StepOf, closing_outcome
from consumer.terminate.trust import Trust

logger = logging.getLogger(__name__)

SCHEMA = LEDGER_SCHEMA + handover.SCHEMA
SAVE_AT = 10_000
"""So many terminations may change before they are saved: mostly a request's attempts and outcomes are then written as one."""
SAVE_AT_BEHIND = 20_000
"""And so many while the log is replayed: what became of them meanwhile is written once."""
LEARNED_AT_MOST = 1_000
"""So many records of our own are recognised when they are read back; any other is folded again, to no effect."""
CLOSE_AT_ONCE = 500
NAMING_AT_ONCE = 50

__all__ = ["SCHEMA", "TerminateShard"]


class TerminateShard:
    """Folds decisions and outcomes. Its ``chooser`` says what is to be sent."""

    def __init__(
        self,
        view: View,
        *,
        topics: Topics,
        book: StoredOrderBook,
        accounts: Mapping[str, Account],
        providers: Mapping[str, Provider],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.view = view
        keep_seconds = topics.termination_log.retention_seconds
        self.ledger = Ledger(view.connection, StepOf(accounts, providers), keep_seconds=keep_seconds)
        self.caught_up = False
        self.opened_at = clock.monotonic()
        self._topics = topics
        self._book = book
        spare_live = {
            name: providers[account.provider].capabilities.everything_spares_live for name, account in accounts.items()
        }
        self.chooser = Chooser(self.ledger, book, clock=clock, spare_live=spare_live)
        self._trust: dict[str, Trust] = {}
        self._live = False
        self._clock = clock
        self.ledger.on_change(self._watch)
        self._named_after: dict[str, Place] = {}
        self._answered: dict[str, set[str]] = {}
        self._standings = Standings(view.connection)
        self._learned: dict[bytes | None, None] = {}

    @property
    def dirty(self) -> bool:
        # Whatever is folded here is read back from the log too, and saved with that.
        return self.urgent or self.ledger.forgetting

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        news = [record for record in records if self._learned.pop(record.value, 0) is not None]
        read = [(record.timestamp / 1_000, changes) for record in news if (changes := records_in(record))]
        self.ledger.load(change.termination_id for _, changes in read for change in changes)
        outputs: list[OutRecord] = []
        came: dict[tuple[str, int, bool], Termination] = {}
        for logged_at, changes in read:
            outputs += self._fold_record(changes, logged_at, came, live=live)
        for (_, _, bulk), t in came.items():
            self.chooser.came(t, bulk=bulk)
        return outputs

    def learn(self, records: Sequence[Record], written: Iterable[OutRecord]) -> None:
        """Fold what has just been ``written`` of one account; what is read back from the log tells nothing new then.

        Where more may have to be written because of it, it is left to be read back: what follows is written then before any
        of it is saved.
        """
        self.ledger.load(record.termination_id for record in records)
        if any(map(self._leads_on, records)):
            return
        self._learned.update((record.value, None) for record in written)
        for value in list(islice(self._learned, max(0, len(self._learned) - LEARNED_AT_MOST))):
            del self._learned[value]
        for _, alike in groupby(records, type):
            self._fold_record(list(alike), 0.0, {}, live=False)

    def _leads_on(self, record: Record) -> bool:
        if isinstance(record, Attempt):
            return self._has_missed(record.account) and endings.missed_later(record, self.ledger.get) is not None
        t = self.ledger.get(record.termination_id)
        return t is not None and t.ended is not None

    def _has_missed(self, account: str) -> bool:
        """Whether there is anything that an attempt could have stopped after all."""
        return self.ledger.count_of(account, State.MISSED) > 0

    def _fold_record(
        self, changes: Sequence[Record], logged_at: float, came: dict[tuple[str, int, bool], Termination], *, live: bool
    ) -> list[OutRecord]:
        """Fold what one record tells, of one call or of all of a request; one of decisions alike is put into ``came``."""
        outputs: list[OutRecord] = []
        first = changes[0]
        asks = isinstance(first, Attempt)
        tells = live and (not asks or self._has_missed(first.account))
        for change in changes:
            before, after = self.ledger.fold(change)
            if after is None:
                continue
            if isinstance(change, Decision):
                alike = change.account, change.lane, change.bulk
                if alike not in came and after.state is State.WAITING:
                    came[alike] = after
            if tells and (asks or after.ended is not None):
                outputs += self._close(change, before, after, logged_at)
        if isinstance(first, Result) and first.request_id:
            self._answered.setdefault(first.account, set()).add(first.request_id)
            self._standings.answered(first)
        return outputs

    def _close(
        self, change: Record, before: Termination | None, after: Termination, logged_at: float
    ) -> list[OutRecord]:
        """Give what is to be written now that the end of the call is known."""
        outputs: list[OutRecord] = []
        if isinstance(change, Ended) and change.status is Status.CANCELLED:
            for shared in covered.shared_request(after, self._book, self.ledger.get):
                after = self.ledger.fold(shared)[1] or after
                outputs += self.records([shared])
        if closing := endings.closing(change, before, after, logged_at, self.ledger.get):
            metrics.OUTCOMES.labels(closing.account, closing.outcome).inc()
            self.ledger.fold(closing)
            outputs += self.records([closing])
        return outputs

    def go_live(self, *, caught_up: bool) -> None:
        self._live = True
        self.caught_up = caught_up

    @property
    def urgent(self) -> bool:
        return self.ledger.unsaved >= (SAVE_AT if self._live else SAVE_AT_BEHIND)

    def looks_into_rows(self, now: float) -> bool:  # noqa: ARG002 -- the worker's protocol
        return False

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Close what has waited for its confirmation long enough, and forget what the log has forgotten."""
        if not self.caught_up:
            return [], False
        due = self.ledger.to_close(now, CLOSE_AT_ONCE)
        outputs: list[OutRecord] = []
        for t in due:
            result = (t.ended and endings.closing(t.ended, None, t, now, self.ledger.get)) or _given_up(t, now)
            self.ledger.fold(result)
            outputs += self.records([result])
            metrics.OUTCOMES.labels(t.account, result.outcome).inc()
        forgets_more = self.ledger.forget(self.view.log_time)
        return outputs, len(due) == CLOSE_AT_ONCE or forgets_more

    def before_commit(self) -> list[OutRecord]:
        return []

    def save(self, connection: sqlite3.Connection) -> bool:
        if self.ledger.save(connection):
            return True
        self._standings.save(connection)
        return False

    def newly_answered(self, account: str) -> Iterable[str]:
        """The requests of an account whose outcome has been folded since this was last asked."""
        return self._answered.pop(account, ())

    def orders_to_sweep_for(self, account: str, now: float) -> list[OrderRecord]:
        """One order in force for each listing of the account's history that shows calls under orders."""
        return self._book.one_of_each_listing(account, now)

    def orders_naming_calls(self, account: str, now: float) -> list[OrderRecord]:
        """The next orders in force of an account that name calls by id: some at a time, round and round."""
        after = self._named_after.get(account, FROM_THE_FIRST)
        found = self._book.naming_calls(account, now, after=after, limit=NAMING_AT_ONCE)
        self._named_after[account] = found[-1][0] if len(found) == NAMING_AT_ONCE else FROM_THE_FIRST
        return [record for _, record in found]

    def known_waiting(self, t: Termination) -> int:
        """How many calls were known to wait in the scope that ``t`` stops as a whole, as far as its orders saw them."""
        return sum(max(0, self.ledger.counts(order_id)["matched"] - 1) for order_id in t.orders)

    def is_decided(self, record: OrderRecord, call_id: str) -> bool:
        """Whether anything was decided about a call that this order names."""
        order = record.order
        return any(order.order_id in t.orders for t in self.ledger.of_call(order.account, call_id))

    def records(self, records: Sequence[Record]) -> list[OutRecord]:
        """Address records of one account to the log of its partition; those that a request's calls share are one."""
        if not records:
            return []
        partition = self._topics.partition_of_account(records[0].account)
        name = self._topics.termination_log.name
        return [OutRecord(name, partition, key.encode(), value) for key, value in encode_request(records)]

    def trust(self, account: str) -> Trust:
        """Whether what rules want of an account still works."""
        return self._trust.setdefault(account, Trust())

    def standing(self, account: str) -> Standing:
        """What of the answers to an account's requests still stands, as far as they have been folded here."""
        return self._standings.of(account)

    def _watch(self, t: Termination, state: State) -> None:
        """Note how what only rules wanted comes out."""
        if self._live and state.over and t.attempts and self.chooser.only_rules_want(t):
            self.trust(t.account).settled(state, self._clock.monotonic())


def _given_up(t: Termination, now: float) -> Result:
    outcome, reason = closing_outcome(t)
    logger.warning("call %s of %s is %s: %s", t.call_id, t.account, outcome, reason)
    return closed(t, outcome, now, reason)
