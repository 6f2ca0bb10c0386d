"""One partition of ``terminations``: the ledger of its accounts."""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.ledger import SCHEMA, Ledger
from consumer.kafka.order_book import FROM_THE_FIRST, Place, StoredOrderBook
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.accounts import Account
from consumer.model.codec import CodecError
from consumer.model.orders import OrderRecord
from consumer.model.provider import Provider
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_records, encode_request
from consumer.model.terminations import Attempt, Decision, Ended, Record, Result, State, Termination
from consumer.terminate import covered, endings, metrics
from consumer.terminate.choosing import Chooser
from consumer.terminate.entries import closed
from consumer.terminate.next_step import StepOf, closing_outcome
from consumer.terminate.trust import Trust

logger = logging.getLogger(__name__)

SAVE_AT = 5_000
"""So many terminations may change before they are saved: mostly a request's attempts and outcomes are then written as one."""
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
        self.ledger = Ledger(view.connection, StepOf(accounts, providers))
        self.caught_up = False
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

    @property
    def dirty(self) -> bool:
        return self.ledger.dirty

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        read = [(record.timestamp / 1_000, changes) for record in records if (changes := _read(record))]
        self.ledger.load(change.termination_id for _, changes in read for change in changes)
        outputs: list[OutRecord] = []
        for logged_at, changes in read:
            for change in changes:
                outputs += self._fold_one(change, logged_at, live=live)
        return outputs

    def _fold_one(self, change: Record, logged_at: float, *, live: bool) -> list[OutRecord]:
        before, after = self.ledger.fold(change)
        self._notice(change, after)
        if not live or after is None:
            return []
        if isinstance(change, Attempt) and not self.ledger.count_of(change.account, State.MISSED):
            return []  # nothing that this attempt could turn out to have stopped
        outputs: list[OutRecord] = []
        if isinstance(change, Ended) and change.status is Status.CANCELLED:
            for shared in covered.shared_request(after, self._book, self.ledger.get):
                _, after = self.ledger.fold(shared)
                outputs += self.records([shared])
        if after and (closing := endings.closing(change, before, after, logged_at, self.ledger.get)):
            metrics.OUTCOMES.labels(closing.account, closing.outcome).inc()
            self.ledger.fold(closing)
            outputs += self.records([closing])
        return outputs

    def go_live(self, *, caught_up: bool) -> None:
        self._live = True
        self.caught_up = caught_up

    @property
    def urgent(self) -> bool:
        return self.ledger.unsaved >= SAVE_AT

    def looks_into_rows(self, now: float) -> bool:  # noqa: ARG002 -- the worker's protocol
        return False

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Close what has waited for its confirmation long enough."""
        if not self.caught_up:
            return [], False
        due = self.ledger.to_close(now, CLOSE_AT_ONCE)
        outputs: list[OutRecord] = []
        for t in due:
            outcome, reason = closing_outcome(t)
            result = closed(t, outcome, now, reason)
            self.ledger.fold(result)
            outputs += self.records([result])
            metrics.OUTCOMES.labels(t.account, outcome).inc()
            logger.warning("call %s of %s is %s: %s", t.call_id, t.account, outcome, reason)
        return outputs, len(due) == CLOSE_AT_ONCE

    def before_commit(self) -> list[OutRecord]:
        return []

    def save(self, connection: sqlite3.Connection) -> bool:
        return self.ledger.save(connection)

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

    def _watch(self, t: Termination, state: State) -> None:
        """Note how what only rules wanted comes out."""
        if self._live and state.over and t.attempts and self.chooser.only_rules_want(t):
            self.trust(t.account).settled(state, self._clock.monotonic())

    def _notice(self, change: Record, after: Termination | None) -> None:
        if isinstance(change, Result) and change.request_id:
            self._answered.setdefault(change.account, set()).add(change.request_id)
        if isinstance(change, Decision) and after is not None and after.state is State.WAITING:
            self.chooser.came(after, bulk=change.bulk)


def _read(record: LogRecord) -> Sequence[Record]:
    try:
        return decode_termination_records(record.value)
    except CodecError as error:
        logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
        return ()
