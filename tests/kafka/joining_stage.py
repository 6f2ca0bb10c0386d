"""A correlator with rules and a guard, on topics of one partition and a real broker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from consumer.correlate.ask_rules import Rules
from consumer.correlate.calls import DEFAULT_KEEPING, Keeping
from consumer.correlate.shard import SCHEMA, CorrelateShard, Correlation
from consumer.guard.asking import RulesOfGuard
from consumer.guard.shard import SCHEMA as GUARD_SCHEMA
from consumer.guard.shard import GuardShard
from consumer.kafka.order_feed import OrderFeed, fact_record, order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.view import View
from consumer.kafka.worker import FoldingWorker
from consumer.model import Call, CallEvent, EventType, Status, Stop, rule
from consumer.model.codec import decode_order_record, encode_event
from consumer.model.controls import is_control
from consumer.model.identity import call_key
from consumer.model.orders import Author, Fact, FactKind, Mode, StopOrder
from consumer.model.protected import Protected
from consumer.model.rule_set import RuleSet
from consumer.model.rules import Rule
from consumer.model.scopes import Scope
from consumer.model.termination_codec import decode_termination_record
from consumer.model.terminations import Decision, Ended
from handlers.rules.opt_out import opt_out
from tests.kafka.helpers import Installation, Tail, a_worker, in_background, until, working

ACCOUNT = "acme"
PROTECTED_NUMBER = "+15550000001"
names = count(1)


@rule(on="queued", name="explodes")
def explodes(event: CallEvent, call: Call) -> Stop | None:
    if event.args.get("explode"):
        raise ZeroDivisionError("of its own")
    return None


@rule(on="queued", name="stops-its-campaign")
def stops_its_campaign(event: CallEvent, call: Call) -> Stop | None:
    return Stop.campaign(call.campaign_id, reason="asked to") if event.args.get("stop campaign") else None


@dataclass
class Joining:
    """A correlator with rules, and a guard that admits what they propose, on topics of one partition."""

    log: Installation
    feed: OrderFeed
    tail: Tail
    correlate: FoldingWorker
    guard: FoldingWorker

    async def event(self, call_id: str, status: Status | None = Status.REGISTERED, **fields: Any) -> None:
        """Put a call event into Kafka as ingest does."""
        kinds = {Status.REGISTERED: EventType.QUEUED, Status.ONGOING: EventType.STARTED, None: EventType.ANALYSIS}
        kind = kinds.get(status, EventType.FINISHED)
        event = CallEvent(ACCOUNT, "ringg", call_id, f"event-{next(names)}", kind, status, **fields)
        topic = self.log.topics.call_events
        await self.log.producer.publish(
            OutRecord(
                topic.name,
                self.log.topics.partition_of_call(ACCOUNT, call_id),
                call_key(ACCOUNT, call_id),
                encode_event(event, b'{"raw": 1}'),
            )
        )

    async def order(self, scope: Scope, hold: float | None = None, mode: Mode = Mode.ENFORCE) -> str:
        """Write an operator's order, as the console does, and wait until it has been read; gives its id."""
        order_id = f"order-{next(names)}"
        order = StopOrder(order_id, ACCOUNT, scope, "why", Author("operator", "ops"), hold=hold, mode=mode)
        await self.log.producer.publish(order_record(self.feed.topic, order))
        await until(lambda: self.feed.book.get(order_id) is not None)
        return order_id

    async def release(self, order_id: str) -> None:
        fact = Fact(order_id, FactKind.RELEASED, Author("operator", "ops"), "enough")
        await self.log.producer.publish(fact_record(self.feed.topic, fact))
        await until(lambda: (known := self.feed.book.get(order_id)) is not None and bool(known.fact(fact.kind)))

    def said(self, call_id: str) -> list[Decision | Ended]:
        """Everything that has been written to ``terminations`` about a call."""
        records = [decode_termination_record(record.value) for record in self.tail.of(self.log.topics.terminations)]
        return [r for r in records if r.call_id == call_id and isinstance(r, Decision | Ended)]

    def decisions(self, call_id: str) -> list[Decision]:
        return [record for record in self.said(call_id) if isinstance(record, Decision)]

    async def decided(self, call_id: str, times: int = 1) -> list[Decision]:
        await until(lambda: len(self.decisions(call_id)) >= times)
        return self.decisions(call_id)

    async def all_decided(self, *call_ids: str, times: int = 1) -> None:
        """Wait for the decisions on calls, which may lie in partitions that are not equally far."""
        for call_id in call_ids:
            await self.decided(call_id, times)

    async def settled(self) -> None:
        """Wait until all events and orders so far have met: in every partition a call and an order after them have."""
        markers = self._a_call_of_each_partition()
        for call_id in markers:
            await self.event(call_id)
        await self.order(Scope.calls(markers), hold=0.0)
        await self.all_decided(*markers)

    def _a_call_of_each_partition(self) -> list[str]:
        found: dict[int, str] = {}
        while len(found) < self.log.topics.call_events.partitions:
            call_id = f"marker-{next(names)}"
            found.setdefault(self.log.topics.partition_of_call(ACCOUNT, call_id), call_id)
        return list(found.values())

    def rejected(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.tail.of(self.log.topics.rejected)]

    def orders_of(self, rule_name: str) -> list[StopOrder]:
        written = [r for r in self.tail.of(self.log.topics.stop_orders) if not is_control(r.key)]
        changes = [decode_order_record(record.value, 0.0) for record in written]
        return [change for change in changes if isinstance(change, StopOrder) and change.by.name == rule_name]


@asynccontextmanager
async def joining(
    log: Installation,
    folder: Path,
    *,
    keeping: Keeping = DEFAULT_KEEPING,
    asked: Sequence[Rule] = (opt_out, explodes, stops_its_campaign),
) -> AsyncIterator[Joining]:
    """Start the correlator and the guard as the composition root does."""
    topics = log.topics
    rules = RuleSet.of(asked)
    on_events, of_guard = Rules(rules, node="correlate"), RulesOfGuard.of(rules, topics, node="guard")
    protected = Protected(numbers=frozenset({PROTECTED_NUMBER}))
    feed = OrderFeed(log.connection, topics.stop_orders)

    def view(role: str, partition: int, schema: str) -> View:
        return View(folder / role / f"{partition}.sqlite", schema, cluster_id=log.cluster.cluster_id)

    def correlate(partition: int) -> CorrelateShard:
        return CorrelateShard(
            view("correlate", partition, SCHEMA),
            partition=partition,
            correlation=Correlation(
                topics,
                feed,
                on_events,
                protected,
                keeping,
                measures=rules.measures,
                totals_of_numbers=rules.totals_of_numbers,
                totals_name_scopes=rules.totals_name_scopes,
            ),
        )

    def guard(partition: int) -> GuardShard:
        return GuardShard(view("guard", partition, GUARD_SCHEMA), feed=feed, admits=partition == 0, rules=of_guard)

    async with AsyncExitStack() as stack:
        await feed.start()
        stack.push_async_callback(feed.stop)
        await stack.enter_async_context(in_background(feed.run()))
        workers = [
            a_worker(log, [topics.call_events], folder / "correlate", correlate, "correlate"),
            a_worker(log, [topics.scope_totals], folder / "guard", guard, "guard"),
        ]
        for worker, reader in workers:
            await stack.enter_async_context(working(worker, reader))
            feed.on_change(worker.wake)
        following = log.following(topics.terminations, topics.rejected, topics.stop_orders)
        tail = await stack.enter_async_context(following)
        await until(lambda: all(worker.ready for worker, _ in workers) and feed.ready)
        yield Joining(log, feed, tail, *[worker for worker, _ in workers])
