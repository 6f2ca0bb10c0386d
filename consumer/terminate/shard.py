"""One partition of ``terminations``: the ledger of its accounts, and which calls are to go into the next request."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from consumer.kafka.clock import SYSTEM_CLOCK, Clock
from consumer.kafka.ledger import SCHEMA, Ledger
from consumer.kafka.order_book import FROM_THE_FIRST, Place, StoredOrderBook
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.accounts import Account
from consumer.model.codec import CodecError, decode_termination_record, encode_termination_record
from consumer.model.orders import EMERGENCY, Mode, OrderRecord, OrderState, effective_mode
from consumer.model.provider import Provider
from consumer.model.status import Status
from consumer.model.terminations import Attempt, Decision, Ended, Record, Result, State, Termination
from consumer.terminate import covered, endings, metrics
from consumer.terminate.entries import closed
from consumer.terminate.next_step import StepOf, closing_outcome

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.02
CLOSE_AT_ONCE = 500
NOT_JUDGED = {OrderState.PROPOSED, OrderState.AWAITING_APPROVAL}
MANY = 100
NAMING_AT_ONCE = 50

__all__ = ["SCHEMA", "Choice", "TerminateShard"]


@dataclass(slots=True)
class _Gathering:
    """When an account's present backlog began, and when the last decision of a scan came. Monotonic seconds."""

    first_at: float
    last_bulk_at: float = 0.0
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into the next request, and the facts about what needs none: unwanted now, or stopped with its scope."""

    batch: tuple[Termination, ...]
    settled: tuple[Attempt | Result, ...]


class TerminateShard:
    """Folds decisions and outcomes; chooses what to send at the last moment."""

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
        self._clock = clock
        self._spares_live = {
            name: providers[account.provider].capabilities.everything_spares_live for name, account in accounts.items()
        }
        self._named_after: dict[str, Place] = {}
        self._gathering: dict[str, _Gathering] = {}
        self._answered: dict[str, list[str]] = {}

    @property
    def dirty(self) -> bool:
        return self.ledger.dirty

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        outputs = []
        for record in records:
            try:
                change = decode_termination_record(record.value)
            except CodecError as error:
                logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
                continue
            before, after = self.ledger.fold(change)
            logged_at = record.timestamp / 1_000
            self._notice(change, after)
            if live and after is not None and isinstance(change, Ended) and change.status is Status.CANCELLED:
                for shared in covered.shared_request(after, self._book, self.ledger.get):
                    _, after = self.ledger.fold(shared)
                    outputs.append(self.record(shared))
            if (
                live
                and after is not None
                and (closing := endings.closing(change, before, after, logged_at, self.ledger.get))
            ):
                metrics.OUTCOMES.labels(closing.account, closing.outcome).inc()
                self.ledger.fold(closing)
                outputs.append(self.record(closing))
        return outputs

    def go_live(self, *, caught_up: bool) -> None:
        self.caught_up = caught_up

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Close what has waited for its confirmation long enough."""
        if not self.caught_up:
            return [], False
        due = self.ledger.to_close(now, CLOSE_AT_ONCE)
        outputs = []
        for t in due:
            outcome, reason = closing_outcome(t)
            result = closed(t, outcome, now, reason)
            self.ledger.fold(result)
            outputs.append(self.record(result))
            metrics.OUTCOMES.labels(t.account, outcome).inc()
            logger.warning("call %s of %s is %s: %s", t.call_id, t.account, outcome, reason)
        return outputs, len(due) == CLOSE_AT_ONCE

    def before_commit(self) -> list[OutRecord]:
        return []

    def save(self, connection: sqlite3.Connection) -> None:
        self.ledger.save(connection)

    def newly_answered(self, account: str) -> list[str]:
        """The requests of an account whose outcome has been folded since this was last asked."""
        return self._answered.pop(account, [])

    def gathered_at(self, account: Account) -> float:
        """When, in monotonic seconds, a batch that is not full may leave: after the linger and once a scan has gone quiet."""
        gathering = self._gathering.get(account.name)
        if gathering is None:
            return 0.0
        linger = 0.0 if gathering.emergency else account.batch.linger
        quiet = gathering.last_bulk_at + QUIET_SECONDS if gathering.last_bulk_at else 0.0
        return max(gathering.first_at + linger, quiet)

    def to_send(self, account: str, now: float, limit: int, skip: AbstractSet[str]) -> list[Termination]:
        """The next terminations to be sent or closed, but for ``skip`` and for those that cannot be judged yet."""
        found: list[Termination] = []
        seen, size = set(skip), limit
        while len(found) < limit and (more := self.ledger.to_send(account, now, size, seen)):
            seen.update(t.termination_id for t in more)
            found += [t for t in more if self._can_be_judged(t, now)]
            size = max(MANY, 2 * size)  # they that cannot be judged tend to stand together
        return found[:limit]

    def choose(self, account: Account, now: float, limit: int, busy: set[str]) -> Choice:
        """Choose up to ``limit`` calls that an order in force still wants stopped, now that the token is there.

        A stop of a whole scope is a request of its own.
        """
        batch: dict[str, Termination] = {}
        settled: list[Attempt | Result] = []
        skip = set(busy)
        while len(batch) < limit:
            found = self.to_send(account.name, now, limit - len(batch), skip)
            if not found:
                self._gathering.pop(account.name, None)
                break
            for t in found:
                skip.add(t.termination_id)
                refused = self._no_longer_wanted(t, now)
                if refused:
                    settled.append(refused)
                elif shared := covered.shared_request(t, self._book, self.ledger.get):
                    settled += shared
                elif t.scope is not None and batch:
                    return self._chosen(batch, settled)
                else:
                    if twin := batch.get(t.call_id):
                        past, t = sorted((twin, t), key=lambda one: one.episode)  # noqa: PLW2901 -- the later one
                        settled.append(closed(past, State.MISSED, now, "the call has come back to wait once more"))
                    batch[t.call_id] = t
                    if t.scope is not None:
                        return self._chosen(batch, settled)
        return self._chosen(batch, settled)

    def _chosen(self, batch: Mapping[str, Termination], settled: list[Attempt | Result]) -> Choice:
        for result in settled:
            self.ledger.fold(result)
        return Choice(tuple(batch.values()), tuple(settled))

    def still_wanted(self, ids: tuple[str, ...], now: float) -> tuple[Termination, ...]:
        """Look again at calls set aside for a smaller request."""
        found = (self.ledger.get(one) for one in ids)
        judged = (t for t in found if t and not t.state.over and self._can_be_judged(t, now))
        return tuple(t for t in judged if not self._no_longer_wanted(t, now))

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

    def record(self, record: Record) -> OutRecord:
        """Address a record to the log of its account's partition."""
        partition = self._topics.partition_of_account(record.account)
        value = encode_termination_record(record)
        return OutRecord(self._topics.termination_log.name, partition, record.termination_id.encode(), value)

    def _notice(self, change: Record, after: Termination | None) -> None:
        if isinstance(change, Result) and change.request_id:
            self._answered.setdefault(change.account, []).append(change.request_id)
        if not isinstance(change, Decision) or after is None or after.state is not State.WAITING:
            return
        moment = self._clock.monotonic()
        gathering = self._gathering.setdefault(after.account, _Gathering(moment))
        gathering.emergency = gathering.emergency or after.lane == EMERGENCY
        if change.bulk:
            gathering.last_bulk_at = moment

    def _can_be_judged(self, t: Termination, now: float) -> bool:
        """Whether an order enforces it, or all of them are known and none is still to be let through.

        The correlator, which decided, may have read ``stop-orders`` further than we have: an order that is not there yet,
        or not let through yet, is waited for.
        """
        known = [self._book.get(order_id) for order_id in t.orders]
        states = {record.state(now) if record else OrderState.PROPOSED for record in known}
        judged = NOT_JUDGED.isdisjoint(states) or any(record and _enforces(record, t, now) for record in known)
        return judged and not covered.must_wait(t, self._book, self.ledger.get)

    def _no_longer_wanted(self, t: Termination, now: float) -> Result | None:
        """Judge a termination again: give the outcome that closes it, None while an order in force enforces it."""
        states = []
        for order_id in t.orders:
            record = self._book.get(order_id)
            if record is None:
                continue
            if _enforces(record, t, now):
                if t.scope is None or self._spares_live[t.account] or record.order.allow_live:
                    return None
                return closed(t, State.FAILED, now, "it may cut live calls, and the order does not say allow_live")
            states.append(record.state(now))
        if OrderState.EXPIRED in states:
            return closed(t, State.EXPIRED, now, "its order expired before it could be sent")
        return closed(t, State.WITHDRAWN, now, "no order wants it any more")


def _enforces(record: OrderRecord, t: Termination, now: float) -> bool:
    return record.in_force(now) and effective_mode(record.order, t.call_id, t.campaign_id) is Mode.ENFORCE
