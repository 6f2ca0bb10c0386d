"""Judging orders of rules: which come into force, which wait, and why; on a real book, with the counts as records."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from consumer.guard.admission import Admission, Judging
from consumer.guard.counts import SCHEMA, Counts
from consumer.guard.late import SCHEMA as LATE
from consumer.guard.late import Late
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.topics import Topic, Topics
from consumer.model.codec import decode_order_record
from consumer.model.counts import CountedUpTo, OrderCount, OrderStopped, Said, decode_said, encode_said
from consumer.model.limits import NO_LIMITS, Limit, Limits, Subject
from consumer.model.orders import Fact, FactKind, Mode, OrderState, StopOrder
from consumer.model.scopes import Scope
from tests.unit.values import ACCOUNT, OPERATOR, RULE, order

HOUR = 3_600.0
SOURCES = 3
LIMITS = Limits(per_rule=Limit(100, 0.5, HOUR, 20))


@dataclass
class Orders:
    """What a feed has: the orders as they are read."""

    book: StoredOrderBook = field(default_factory=StoredOrderBook)
    topic: Topic = field(default_factory=lambda: Topics.embedded().stop_orders)
    ready: bool = True
    offset: int = 0

    def read(self, *changes: StopOrder | Fact) -> None:
        for change in changes:
            self.book.fold([(self.offset, change)])
            self.offset += 1


class Judge:
    """A judge with its view; ``again`` is one after a restart."""

    def __init__(self, orders: Orders, limits: Limits = LIMITS, path: Path | str = ":memory:") -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(SCHEMA + LATE)
        self.orders = orders
        self.counts = Counts(self.connection)
        self.late = Late(self.connection)
        self.admission = Admission(orders, self.counts, self.late, Judging(limits, SOURCES))

    def hears(self, *said: Said, at: float = 0.0) -> None:
        for one in said:
            read = decode_said(encode_said(one))
            if isinstance(read, OrderStopped):
                self.late.put(read)
            else:
                self.counts.put(read, round(at * 1_000))
        self.save()

    def save(self) -> None:
        self.counts.save(self.connection)
        self.late.save(self.connection)

    def answers(self, now: float) -> list[Fact]:
        records, more = self.admission.work(now)
        assert not more
        facts = [decode_order_record(record.value, now) for record in records]
        return [fact for fact in facts if isinstance(fact, Fact)]

    def answer(self, now: float) -> Fact:
        (fact,) = self.answers(now)
        return fact


def up_to(applied: int, open_calls: int = 1_000) -> list[Said]:
    return [CountedUpTo(source, "", applied, {ACCOUNT: open_calls}) for source in range(SOURCES)]


def proposed(order_id: str = "r-1", campaign: str = "c-1", **given: object) -> StopOrder:
    return order(order_id, by=RULE, scope=Scope.campaign(campaign), **given)


def counted(order_id: str, *matched: int) -> list[Said]:
    by_campaign = "c-" + order_id.partition("-")[2]
    return [OrderCount(order_id, n, calls, {by_campaign: calls}) for n, calls in enumerate(matched)]


def test_an_order_within_the_limits_comes_into_force_once_every_partition_has_counted() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed())
    judge.hears(*counted("r-1", 10, 5), *up_to(1)[:2])
    assert judge.answers(now=1_000.0) == []
    judge.hears(up_to(1)[2])
    fact = judge.answer(now=1_000.1)
    assert (fact.kind, fact.reason) == (FactKind.ADMITTED, "within the limits")
    assert fact.details is not None
    assert (fact.details["count"], fact.details["open"], fact.details["by_campaign"]) == (15, 3_000, {"c-1": 15})
    assert fact.details["limits"][0]["with_it"] == 15
    assert judge.answers(now=1_000.2) == []  # once, though nobody has read of it yet


def test_an_order_above_a_limit_waits_with_the_count_it_would_stop() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed())
    judge.hears(*counted("r-1", 60, 60), *up_to(1))
    fact = judge.answer(now=1_000.0)
    assert fact.kind is FactKind.HELD
    assert "it would stop 120 calls" in fact.reason
    assert "120 calls within 1h are more than 100" in fact.reason
    orders.read(fact)
    record = orders.book.get("r-1")
    assert record is not None
    assert record.state(1_001.0) is OrderState.AWAITING_APPROVAL
    orders.read(Fact("r-1", FactKind.APPROVED, OPERATOR, "looked at", 1_002.0))
    record = orders.book.get("r-1")
    assert record is not None
    assert record.in_force(1_003.0)
    assert judge.answers(now=1_003.0) == []


def test_a_count_that_is_not_complete_in_time_makes_the_order_wait_and_names_who_is_missing() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed())
    judge.hears(*counted("r-1", 7), up_to(1)[0])
    assert judge.answers(now=1_000.0) == []
    assert judge.answers(now=1_009.9) == []
    fact = judge.answer(now=1_010.0)
    assert fact.kind is FactKind.HELD
    assert "partitions 1, 2 of the calls have not counted in time; 7 calls so far" in fact.reason


def test_counts_of_another_log_or_of_before_the_order_do_not_count() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed("r-0"), proposed("r-1"))
    judge.hears(*up_to(1))
    assert [fact.order_id for fact in judge.answers(now=1_000.0)] == ["r-0"]
    judge.hears(*(CountedUpTo(source, "another", 9) for source in range(SOURCES)))
    assert judge.answers(now=1_000.0) == []


def test_what_the_rule_has_stopped_lately_counts_and_what_it_stopped_long_ago_does_not() -> None:
    orders = Orders()
    judge = Judge(orders)
    now = 100_000.0
    for n in range(3):
        orders.read(proposed(f"r-{n}", f"c-{n}"))
        judge.hears(*counted(f"r-{n}", 40), *up_to(orders.offset))
        fact = judge.answer(now + n)
        assert fact.kind is (FactKind.HELD if n == 2 else FactKind.ADMITTED)
        orders.read(fact)
    orders.read(proposed("r-3", "c-3"))
    judge.hears(*counted("r-3", 40), *up_to(orders.offset))
    fact = judge.answer(now + HOUR + 0.5)  # the first of the two has left the hour
    assert fact.kind is FactKind.ADMITTED
    assert fact.details is not None
    assert fact.details["limits"][0]["before"] == 40


def test_orders_judged_together_count_for_each_other_and_a_held_one_does_not() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(*(proposed(f"r-{n}", f"c-{n}") for n in range(3)))
    judge.hears(*counted("r-0", 60), *counted("r-1", 60), *counted("r-2", 40), *up_to(3))
    assert [fact.kind for fact in judge.answers(now=1_000.0)] == [
        FactKind.ADMITTED,
        FactKind.HELD,
        FactKind.ADMITTED,
    ]


def test_after_a_restart_the_same_records_give_the_same_answers(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    orders = Orders()
    first = Judge(orders, path=path)
    orders.read(proposed("r-0", "c-0"))
    first.hears(*counted("r-0", 60), *up_to(1))
    orders.read(first.answer(now=1_000.0))
    orders.read(proposed("r-1", "c-1"))
    first.hears(*counted("r-1", 60), *up_to(orders.offset))
    told = first.answer(now=1_001.0)  # and it dies before this is written
    first.connection.close()
    again = Judge(orders, path=path)
    with closing(again.connection):
        assert again.answer(now=1_001.0) == told
        assert told.kind is FactKind.HELD


def test_a_rule_that_failed_and_is_to_hold_waits_even_without_limits() -> None:
    orders = Orders()
    orders.read(proposed(explanation={"error": "ZeroDivisionError: division by zero"}))
    fact = Judge(orders, NO_LIMITS).answer(now=1_000.0)
    assert fact.kind is FactKind.HELD
    assert fact.reason == "the rule failed: ZeroDivisionError: division by zero"


def test_without_limits_an_order_comes_into_force_at_once() -> None:
    orders = Orders()
    orders.read(proposed())
    assert Judge(orders, NO_LIMITS).answer(now=1_000.0).kind is FactKind.ADMITTED


def test_a_call_counts_one_and_nobody_is_asked() -> None:
    orders = Orders()
    judge = Judge(orders, Limits(per_rule=Limit(1, 1.0, HOUR, 0)))
    orders.read(*(order(f"r-{n}", by=RULE, scope=Scope.calls([f"call-{n}"])) for n in range(2)))
    assert [fact.kind for fact in judge.answers(now=1_000.0)] == [FactKind.ADMITTED, FactKind.HELD]


def test_calls_stopped_one_by_one_count_for_their_campaign() -> None:
    orders = Orders()
    judge = Judge(orders, Limits(per_campaign=Limit(1, 1.0, HOUR, 0)))
    campaigns = ("c-1", "c-2", "c-1", None)
    told = [{"explanation": {"campaign_id": one}} if one else {} for one in campaigns]
    orders.read(*(order(f"r-{n}", by=RULE, scope=Scope.calls([f"call-{n}"]), **one) for n, one in enumerate(told)))
    kinds = [fact.kind for fact in judge.answers(now=1_000.0)]
    assert kinds == [FactKind.ADMITTED, FactKind.ADMITTED, FactKind.HELD, FactKind.ADMITTED]


def test_an_operators_order_is_not_looked_at() -> None:
    orders = Orders()
    orders.read(order("op-1", by=OPERATOR))
    judge = Judge(orders, Limits(per_rule=Limit(0, 0.0, HOUR, 0)))
    assert judge.answers(now=1_000.0) == []
    assert judge.answers(now=1_020.0) == []


def test_in_shadow_an_order_says_that_it_would_have_waited_and_uses_nothing_up() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed("r-0", "c-0", mode=Mode.SHADOW))
    judge.hears(*counted("r-0", 500), *up_to(1))
    fact = judge.answer(now=1_000.0)
    assert fact.kind is FactKind.ADMITTED
    assert "would wait" in fact.reason
    assert fact.details is not None
    assert fact.details["would_wait"] is True
    orders.read(fact, proposed("r-1", "c-1"))
    judge.hears(*counted("r-1", 100), *up_to(orders.offset))
    assert judge.answer(now=1_001.0).kind is FactKind.ADMITTED


def test_nothing_is_judged_while_the_orders_are_being_read() -> None:
    orders = Orders(ready=False)
    orders.read(proposed())
    judge = Judge(orders, NO_LIMITS)
    assert judge.answers(now=1_000.0) == []
    orders.ready = True
    assert len(judge.answers(now=1_000.0)) == 1


def test_many_orders_are_judged_a_part_at_a_time_until_none_is_left() -> None:
    orders = Orders()
    orders.read(*(proposed(f"r-{n}", f"c-{n}") for n in range(1_100)))
    judge = Judge(orders, NO_LIMITS)
    told: list[str] = []
    more = True
    while more:
        records, more = judge.admission.work(1_000.0)
        told += [record.key.decode() for record in records]
    assert told == [f"r-{n}/admitted" for n in range(1_100)]


def test_counts_are_forgotten_with_their_orders(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    orders = Orders()
    judge = Judge(orders, path=path)
    orders.read(proposed("r-0", "c-0"))
    judge.hears(*counted("r-0", 1), *counted("r-none", 1), *up_to(1), at=1_000.0)
    orders.read(judge.answer(now=1_000.0))
    judge.answers(now=1_100.0)
    judge.counts.save(judge.connection)
    assert keys(judge) == {b".count/r-none/0": 1} | {b".counted/%d" % n: 1 for n in range(SOURCES)}
    judge.answers(now=1_000.0 + 2 * HOUR)
    judge.counts.save(judge.connection)
    assert keys(judge) == {b".counted/%d" % n: 1 for n in range(SOURCES)}


def keys(judge: Judge) -> Mapping[bytes, int]:
    return dict(judge.connection.execute("SELECT key, count(*) FROM said GROUP BY key").fetchall())


def let_through(judge: Judge, calls: int, now: float = 1_000.0) -> None:
    judge.orders.read(proposed())
    judge.hears(*counted("r-1", calls), *up_to(judge.orders.offset))
    judge.orders.read(judge.answer(now))


def state_of(judge: Judge, now: float) -> OrderState:
    record = judge.orders.book.get("r-1")
    assert record is not None
    return record.state(now)


def test_what_registers_later_counts_and_holds_the_order_once_it_is_above_a_limit() -> None:
    judge = Judge(Orders())
    let_through(judge, 40)
    judge.hears(OrderStopped("r-1", 0, 1, 40))  # those that were counted
    assert judge.answers(now=1_001.0) == []
    judge.hears(OrderStopped("r-1", 0, 2, 50), OrderStopped("r-1", 1, 1, 10))
    assert judge.answers(now=1_002.0) == []  # 100 within the hour
    judge.save()
    judge.hears(OrderStopped("r-1", 1, 2, 1), OrderStopped("r-1", 1, 2, 1))  # said twice
    fact = judge.answer(now=1_003.0)
    assert fact.kind is FactKind.HELD
    assert "101 calls within 1h are more than 100" in fact.reason
    judge.orders.read(fact)
    assert state_of(judge, 1_004.0) is OrderState.AWAITING_APPROVAL


def test_what_was_stopped_late_counts_for_the_next_order_of_the_rule_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    orders = Orders()
    first = Judge(orders, path=path)
    let_through(first, 40)
    first.hears(OrderStopped("r-1", 0, 1, 90))
    assert first.answers(now=1_001.0) == []
    first.save()
    first.connection.close()
    judge = Judge(orders, path=path)
    with closing(judge.connection):
        orders.read(proposed("r-2", "c-2"))
        judge.hears(*counted("r-2", 20), *up_to(orders.offset))
        fact = judge.answer(now=1_002.0)
        assert fact.kind is FactKind.HELD
        assert fact.details is not None
        assert fact.details["limits"][0]["before"] == 90
        assert judge.late.used(Subject(rule="opt-out"), 5_000.0) == 0


def test_an_order_that_a_person_approved_is_not_held_again() -> None:
    judge = Judge(Orders())
    let_through(judge, 120)
    assert state_of(judge, 1_000.0) is OrderState.AWAITING_APPROVAL
    judge.orders.read(Fact("r-1", FactKind.APPROVED, OPERATOR, "yes", 1_001.0))
    judge.hears(OrderStopped("r-1", 0, 1, 5_000))
    assert judge.answers(now=1_002.0) == []


def test_stops_of_an_order_that_has_not_been_read_yet_are_looked_at_when_it_has() -> None:
    judge = Judge(Orders())
    judge.hears(OrderStopped("r-1", 0, 1, 500))
    assert judge.answers(now=1_000.0) == []
    let_through(judge, 40)
    assert judge.answer(now=1_001.0).kind is FactKind.HELD


def test_partitions_that_are_still_being_read_are_waited_for_as_long_as_they_say_so() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed())
    judge.hears(*up_to(1)[:2], at=1_000.0)
    for now in range(1_000, 1_060, 5):
        judge.hears(CountedUpTo(2, "", 0, reading=True), at=float(now))
        assert judge.answers(float(now)) == []
    judge.hears(*counted("r-1", 0, 0, 7), up_to(1)[2], at=1_060.0)
    assert judge.answer(1_060.0).kind is FactKind.ADMITTED


def test_a_partition_that_was_being_read_and_says_so_no_more_is_missing() -> None:
    orders = Orders()
    judge = Judge(orders)
    orders.read(proposed())
    judge.hears(*up_to(1)[:2], CountedUpTo(2, "", 0, reading=True), at=1_000.0)
    assert judge.answers(1_000.0) == []
    assert judge.answers(1_009.0) == []
    assert "partitions 2 of the calls" in judge.answer(1_011.0).reason
