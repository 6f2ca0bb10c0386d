"""The real shards of one process, with their views on a simulated disk, put together as the composition root does."""

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from consumer.correlate.ask_rules import Rules
from consumer.correlate.shard import SCHEMA as CORRELATE_SCHEMA
from consumer.correlate.shard import CorrelateShard, Correlation
from consumer.guard.admission import Judging
from consumer.guard.shard import SCHEMA as GUARD_SCHEMA
from consumer.guard.shard import GuardShard
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.view import View
from consumer.kafka.worker import Shard
from consumer.model.limits import Limit, Limits
from consumer.model.protected import Protected
from consumer.terminate.shard import SCHEMA as TERMINATE_SCHEMA
from consumer.terminate.shard import TerminateShard
from handlers.rules.opt_out import opt_out
from tests.simulation.disk import File, Touch
from tests.simulation.machine import Machine
from tests.simulation.readers import SimulatedGroupReader

VIEWS = Path(tempfile.gettempdir()) / "callbreaker-simulation"
CLUSTER = "simulated"
SAVED_AT_ONCE = 2
LIMITS = Limits(per_rule=Limit(1_000_000, 1.0, 3_600.0, 0))
"""Orders of rules are counted for, however long that takes, and none is above: what they stop is for the other audits."""


class _View(View):
    """A view whose file is on a simulated disk."""

    def discard(self) -> None:
        super().discard()
        assert isinstance(self.connection, File)
        self.connection.empty()


class Shards:
    """Opens what a process of ``machine`` keeps; it touches the disk through ``touch``."""

    def __init__(self, machine: Machine, touch: Touch) -> None:
        self._machine = machine
        self._connect = machine.disk.connect_for(touch)
        self._rules = Rules([opt_out])

    def open_book(self) -> StoredOrderBook:
        ttl = {account.name: account.decision_ttl for account in self._machine.around.accounts.values()}
        path = VIEWS / self._machine.name / "orders" / "0.sqlite"
        return StoredOrderBook(path, cluster_id=CLUSTER, decision_ttl=ttl, connect=self._connect)

    def open(self, role: str, partition: int, feed: OrderFeed) -> Shard:
        around = self._machine.around
        if role == "correlate":
            correlation = Correlation(around.topics, feed, self._rules, Protected(), counting=True)
            view = self._view(role, partition, CORRELATE_SCHEMA)
            shard = CorrelateShard(view, partition=partition, correlation=correlation)
            shard.calls.saved_at_once = SAVED_AT_ONCE
            return shard
        if role == "guard":
            judging = Judging(LIMITS, around.topics.call_events.partitions, count_within_seconds=math.inf)
            view = self._view(role, partition, GUARD_SCHEMA)
            return GuardShard(view, feed=feed, admits=partition == 0, judging=judging)
        return TerminateShard(
            self._view(role, partition, TERMINATE_SCHEMA),
            topics=around.topics,
            book=feed.book,
            accounts=around.accounts,
            providers=around.providers,
            clock=self._machine.clock,
        )

    def _view(self, role: str, partition: int, schema: str) -> View:
        path = VIEWS / self._machine.name / role / f"{partition}.sqlite"
        return _View(path, schema, cluster_id=CLUSTER, connect=self._connect)


def overheard(shard: Shard, reader: SimulatedGroupReader, heard: Callable[[str], None]) -> Shard:
    """Let a shard be listened to: below the committed offset everything has been said, and it must be silent."""
    fold = shard.fold

    def aloud(records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        outputs = fold(records, live=live)
        if outputs:
            replayed = [r for r in records if r.offset < reader.silent_until.get((r.topic, r.partition), 0)]
            if replayed:
                heard(f"{replayed[0].topic}/{replayed[0].partition}@{replayed[0].offset}")
        return outputs

    shard.fold = aloud  # type: ignore[method-assign]
    return shard
