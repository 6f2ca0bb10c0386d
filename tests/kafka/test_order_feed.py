import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_feed import SLICE_RECORDS, OrderFeed, control_record, fact_record, order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.progress import Reading
from consumer.kafka.reader import LogRecord, TopicReader
from consumer.model.codec import decode_order_record
from consumer.model.controls import Alert, Lever, RuleMode
from consumer.model.orders import Author, Fact, FactKind, Mode, OrderState, StopOrder
from consumer.model.scopes import Scope
from tests.kafka.helpers import Installation, in_background, installed, until, waiting_for_each_journal
from tests.kafka.log_faults import make_again
from tests.patience import PATIENCE_SECONDS
from tests.unit.values import waiting_call

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

RULE = Author("rule", "opt-out", "1", "abc")
GUARD = Author("guard", "guard")
OPERATOR = Author("operator", "ops")
SOON = 4_000_000_000.0


def an_order(order_id: str, by: Author = RULE, hold: float | None = None) -> StopOrder:
    return StopOrder(order_id, "acme", Scope.campaign(f"campaign of {order_id}"), "why", by, hold=hold)


def a_fact(order_id: str, kind: FactKind) -> Fact:
    return Fact(order_id, kind, GUARD, "because")


@asynccontextmanager
async def fed(log: Installation, path: Path | None = None) -> AsyncIterator[OrderFeed]:
    book = StoredOrderBook(path, cluster_id=log.cluster.cluster_id) if path else None
    feed = OrderFeed(log.connection, log.topics.stop_orders, book=book)
    await feed.start()
    try:
        async with in_background(feed.run()):
            yield feed
    finally:
        await feed.stop()


async def test_feed_knows_every_order_with_its_facts_and_hears_of_new_ones(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all(
            [
                fact_record(topic, a_fact("early", FactKind.ADMITTED)),  # before its order
                order_record(topic, an_order("early")),
                order_record(topic, an_order("proposed")),
                OutRecord(topic.name, 0, b"junk", b"not an order"),
                order_record(topic, an_order("operator's", OPERATOR)),
            ]
        )
        async with fed(log) as feed:
            heard: list[int] = []
            feed.on_change(lambda: heard.append(feed.next_offset))
            await feed.caught_up()
            assert feed.ready
            assert feed.next_offset == 5
            assert {record.order.order_id: record.state(SOON) for record in feed.book} == {
                "early": OrderState.IN_FORCE,
                "proposed": OrderState.PROPOSED,
                "operator's": OrderState.IN_FORCE,
            }
            assert heard[-1] == 5
            await log.producer.publish_all(
                [
                    fact_record(topic, a_fact("early", FactKind.RELEASED)),
                    order_record(topic, an_order("late", OPERATOR)),
                ]
            )
            await until(lambda: heard[-1] == 7)
            assert [record.order.order_id for record in feed.book.changed_since(5)] == ["early", "late"]
            early = feed.book.get("early")
            assert early is not None
            assert early.state(SOON) is OrderState.RELEASED
            assert await feed.bounds() == {(topic.name, 0): (0, 7)}


async def test_tombstone_forgets_the_order_and_only_it(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all([order_record(topic, an_order("one")), order_record(topic, an_order("two"))])
        async with fed(log) as feed:
            await feed.caught_up()
            await log.producer.publish_all([OutRecord(topic.name, 0, key, None) for key in (b"one", b"two/released")])
            await until(lambda: feed.next_offset == 4)
            assert [record.order.order_id for record in feed.book] == ["two"]


async def test_compaction_leaves_the_same_book(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        for _ in range(2):  # everything is written twice, as after a crash
            await log.producer.publish_all(
                [
                    order_record(topic, an_order("one")),
                    fact_record(topic, a_fact("one", FactKind.HELD)),
                    fact_record(topic, a_fact("one", FactKind.APPROVED)),
                    fact_record(topic, a_fact("one", FactKind.RELEASED)),
                ]
            )
        records = await log.read(topic)
        compacted = {record.key: record for record in records}.values()  # the last of each key is what stays
        assert len(compacted) == 4
        states = [facts_in(kept)["one"] for kept in (records, list(compacted))]
        assert states[0] == states[1] == {FactKind.HELD, FactKind.APPROVED, FactKind.RELEASED}


def facts_in(records: Sequence[LogRecord]) -> dict[str, set[FactKind]]:
    """Fold records of ``stop-orders`` into the kinds of facts of every order."""
    book = StoredOrderBook()
    for record in records:
        change = decode_order_record(record.value, record.timestamp / 1_000)
        if isinstance(change, StopOrder):
            book.put_order(change, record.offset)
        else:
            book.put_fact(change, record.offset)
    return {record.order.order_id: {fact.kind for fact in record.facts} for record in book}


async def test_topic_that_ends_in_offsets_without_a_record_is_read_to_its_end(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        record = order_record(topic, an_order("one", OPERATOR))
        # A transaction's marker takes the last offset, as a record does that compaction has taken away.
        writer = AIOKafkaProducer(bootstrap_servers=kafka_servers, transactional_id=topic_prefix)
        async with writer, writer.transaction():
            await writer.send(record.topic, record.value, record.key, partition=0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await log.ends(topic) != {0: 2}:  # the marker follows the answer to the commit
                pass
        async with fed(log) as feed:
            await feed.caught_up()
            assert feed.next_offset == 2
            assert feed.book.get("one") is not None


async def test_slow_broker_is_not_taken_for_the_end_of_the_topic(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = 0
    poll = TopicReader.poll

    async def empty_at_first(
        reader: TopicReader, *, max_records: int, timeout_ms: int
    ) -> Mapping[tuple[str, int], Sequence[LogRecord]]:
        nonlocal polls
        polls += 1
        if polls > 3:
            return await poll(reader, max_records=max_records, timeout_ms=timeout_ms)
        await asyncio.sleep(0.05)
        return {}

    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all(order_record(topic, an_order(str(n), OPERATOR)) for n in range(5))
        monkeypatch.setattr(TopicReader, "poll", empty_at_first)
        async with fed(log) as feed:
            await feed.caught_up()
            assert len(feed.book) == 5
            assert feed.next_offset == 5


async def test_restart_reads_only_what_is_new(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all(order_record(topic, an_order(str(n), OPERATOR)) for n in range(300))
        async with fed(log, tmp_path / "0.sqlite") as feed:
            await feed.caught_up()
            assert feed.records_folded == 300
            assert feed.readings() == [Reading(topic.name, 0, begun=0, position=300, end=300)]
        await log.producer.publish_all([fact_record(topic, a_fact("7", FactKind.RELEASED))])
        async with fed(log, tmp_path / "0.sqlite") as feed:
            await feed.caught_up()
            assert feed.readings() == [Reading(topic.name, 0, begun=300, position=301, end=301)]
            assert (feed.records_folded, len(feed.book)) == (1, 300)
            released = feed.book.get("7")
            assert released is not None
            assert released.state(SOON) is OrderState.RELEASED
            (aimed,) = feed.book.aimed_at(waiting_call(account="acme", campaign_id="campaign of 299"))
            assert aimed.order.order_id == "299"


async def test_orders_of_a_topic_that_was_made_again_are_not_mixed_with_those_of_the_old_one(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all(order_record(topic, an_order(f"old {n}", OPERATOR)) for n in range(3))
        async with fed(log, tmp_path / "0.sqlite") as feed:
            await feed.caught_up()
        await make_again(log, topic)
    async with installed(kafka_servers, topic_prefix) as log:
        await log.producer.publish_all(order_record(topic, an_order(f"new {n}", OPERATOR)) for n in range(5))
        async with fed(log, tmp_path / "0.sqlite") as feed:
            await feed.caught_up()
            assert [record.order.order_id for record in feed.book] == [f"new {n}" for n in range(5)]


async def test_order_that_names_ten_thousand_is_folded_between_others(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    numbers = [f"+9170{n:08}" for n in range(10_000)]
    by_list = StopOrder("list", "acme", Scope.numbers(numbers), "why", OPERATOR, hold=None)
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        orders = [
            an_order("before", OPERATOR),
            by_list,
            replace(by_list, order_id="list 2"),
            an_order("after", OPERATOR),
        ]
        await log.producer.publish_all(order_record(topic, order) for order in orders)
        async with fed(log, tmp_path / "0.sqlite") as feed:
            await feed.caught_up()
            assert [record.order.order_id for record in feed.book] == ["before", "list", "list 2", "after"]
            aimed = feed.book.aimed_at(waiting_call(account="acme", number=numbers[-1]))
            assert [record.order.order_id for record in aimed] == ["list", "list 2"]
            await log.producer.publish(OutRecord(topic.name, 0, b"list", None))
            await until(lambda: feed.next_offset == 5)
            aimed = feed.book.aimed_at(waiting_call(account="acme", number=numbers[0]))
            assert [record.order.order_id for record in aimed] == ["list 2"]


async def test_while_orders_are_read_nobody_waits_for_more_than_a_slice(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all(order_record(topic, an_order(str(n), OPERATOR)) for n in range(2_000))
        feed = OrderFeed(log.connection, topic)
        await feed.start()
        seen: list[int] = []

        async def others() -> None:
            while not feed.ready:
                seen.append(feed.records_folded)
                await asyncio.sleep(0)

        async with in_background(feed.run()):
            await others()
        await feed.stop()
        assert max(after - before for before, after in pairwise([*seen, feed.records_folded])) <= SLICE_RECORDS


async def test_controls_are_known_beside_the_orders_and_after_a_restart_without_being_read_again(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "0.sqlite"
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.stop_orders
        await log.producer.publish_all(
            [
                order_record(topic, an_order("one", OPERATOR)),
                control_record(topic, Lever(engaged=True, reason="too many errors", by=GUARD)),
                control_record(topic, RuleMode("opt-out", Mode.SHADOW, "look first", OPERATOR)),
                OutRecord(topic.name, 0, b"lever", b"not a control"),
                control_record(topic, Alert("held/acme", "acme is held", 1.0)),
            ]
        )
        async with fed(log, path) as feed:
            await feed.caught_up()
            assert feed.controls.lever_engaged
            assert set(feed.controls.alerts) == {"held/acme"}
            heard: list[bool] = []
            feed.on_change(lambda: heard.append(feed.controls.lever_engaged))
            await log.producer.publish(control_record(topic, Lever(engaged=False, reason="well", by=OPERATOR)))
            await log.producer.publish(OutRecord(topic.name, 0, b"alert/held/acme", None))
            await until(lambda: feed.next_offset == 7)
            assert heard[-1] is False
        async with fed(log, path) as feed:
            stood = feed.controls
            await feed.caught_up()
            assert feed.records_folded == 0
            assert feed.controls == stood
            assert (stood.lever_engaged, dict(stood.alerts)) == (False, {})
            assert (told := stood.mode_of("opt-out")) is not None
            assert told.mode is Mode.SHADOW
            assert len(feed.book) == 1


async def test_a_feed_whose_journal_has_become_long_waits_for_it_and_reads_on(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_anew = waiting_for_each_journal(monkeypatch)
    path = tmp_path / "0.sqlite"
    async with installed(kafka_servers, topic_prefix) as log:
        names = [f"order-{n}" for n in range(3 * SLICE_RECORDS)]
        await log.producer.publish_all(order_record(log.topics.stop_orders, an_order(name)) for name in names)
        async with fed(log, path) as feed:
            await feed.caught_up()
            assert len(feed.book) == len(names)
    assert begun_anew == [path] * 3
