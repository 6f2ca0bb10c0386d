"""Throttles of rules on events: once per scope in a time, several matches in a time, and a while after an order has ended."""

import sqlite3
from collections.abc import Iterator

import pytest

from consumer.correlate.ask_rules import Rules
from consumer.guard.ask_matches import SCHEMA, MatchRules, StoredMatches
from consumer.kafka.order_book import StoredOrderBook
from consumer.model import Call, CallEvent, EventType, Status, Stop
from consumer.model.matches import Match, decode_match, encode_match
from consumer.model.orders import Fact, FactKind, Mode, StopOrder
from consumer.model.rules import EventRule
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.stops import Aim
from consumer.model.throttles import Matches, Throttle
from tests.unit.values import ACCOUNT, OPERATOR, event, folded, waiting_call

CALL = waiting_call(campaign_id="k", number="+15550000001")
HOUR = 3_600.0


def stop_on_failure(told: CallEvent, call: Call) -> Stop | None:
    return Stop.campaign(call.campaign_id, reason="it failed") if told.status is Status.FAILED else None


def throttled(throttle: Throttle, aim: Aim | None = None) -> EventRule:
    return EventRule("mine", "1", "h", stop_on_failure, throttle=throttle, aim=aim)


def failing(name: str, at: float, status: Status = Status.FAILED) -> CallEvent:
    return event(name, status, type=EventType.FINISHED, logged_at=at)


def in_book(order: StopOrder, at: float, book: StoredOrderBook, *facts: tuple[FactKind, float]) -> None:
    fields = {name: getattr(order, name) for name in StopOrder.__slots__}
    book.put_order(StopOrder(**fields | {"at": at}), len(book))
    for kind, when in ((FactKind.ADMITTED, at), *facts):
        book.put_fact(Fact(order.order_id, kind, OPERATOR, "because", when), 99)


def test_once_per_scope_within_a_time_however_the_last_order_ended() -> None:
    rules, book = Rules([throttled(Throttle(once_per=HOUR))]), StoredOrderBook()
    (order,), _ = rules.ask(failing("e1", 1_000.0), CALL, book)
    in_book(order, 1_001.0, book, (FactKind.RELEASED, 1_010.0))
    assert rules.ask(failing("e2", 1_001.0 + HOUR - 1), CALL, book)[0] == []
    (second,), _ = rules.ask(failing("e3", 1_001.0 + HOUR), CALL, book)
    assert second.order_id != order.order_id
    other = waiting_call("other", campaign_id="another")
    assert len(rules.ask(failing("e4", 1_020.0), other, book)[0]) == 1  # another scope


def test_two_partitions_that_order_at_once_give_one_order() -> None:
    one, two = Rules([throttled(Throttle(once_per=HOUR))]), Rules([throttled(Throttle(once_per=HOUR))])
    (first,), _ = one.ask(failing("e1", 1_000.0), CALL, StoredOrderBook())
    (second,), _ = two.ask(failing("e2", 1_001.0), CALL, StoredOrderBook())
    assert first.order_id == second.order_id


@pytest.mark.parametrize("ended", [FactKind.RELEASED, FactKind.REJECTED])
def test_a_rule_cools_down_after_its_order_has_ended(ended: FactKind) -> None:
    rules, book = Rules([throttled(Throttle(cool_down=HOUR))]), StoredOrderBook()
    (order,), _ = rules.ask(failing("e1", 1_000.0), CALL, book)
    in_book(order, 1_001.0, book, (ended, 2_000.0))
    assert rules.ask(failing("e2", 2_000.0 + HOUR - 1), CALL, book)[0] == []
    assert len(rules.ask(failing("e3", 2_000.0 + HOUR), CALL, book)[0]) == 1


class Counting:
    """The matches of one rule, counted as guard does."""

    def __init__(self, rule: EventRule) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.executescript(SCHEMA)
        self.book = StoredOrderBook()
        self._asking = Rules([rule])
        self._deciding = MatchRules([rule])
        self._stored = StoredMatches(self.connection, kept_seconds=HOUR)

    def told(self, *events: CallEvent, call: Call = CALL) -> list[StopOrder]:
        """Give the orders that events lead to."""
        found = []
        for one in events:
            asked = self._asking.judge(one, call, self.book)
            assert asked.orders == []
            for match in [decode_match(encode_match(match)) for match in asked.matches]:
                self._stored.put(match)
                self._stored.save(self.connection)
                order = self._deciding.ask(match, self._stored, self.book)
                found += [order] if order else []
        return found


@pytest.fixture
def three() -> Iterator[Counting]:
    stage = Counting(throttled(Throttle(matches=Matches(3, 60.0))))
    yield stage
    stage.connection.close()


def test_a_rule_acts_only_when_it_has_matched_so_often_within_the_time(three: Counting) -> None:
    assert three.told(failing("e1", 100.0), failing("e2", 130.0), failing("e3", 160.0)) == []  # e1 is a minute ago
    (order,) = three.told(failing("e4", 170.0))
    assert (order.scope, order.reason, order.by.name) == (Scope.campaign("k"), "it failed", "mine")
    assert order.explanation is not None
    assert order.explanation["matches"] == {"found": 3, "of": 3, "within_seconds": 60.0}


def test_a_match_that_is_told_twice_counts_once_and_each_scope_for_itself(three: Counting) -> None:
    assert three.told(failing("e1", 100.0), failing("e1", 100.0), failing("e1", 100.0)) == []
    other = waiting_call("other", campaign_id="another")
    assert three.told(failing("e2", 101.0), failing("e3", 102.0), call=other) == []
    assert three.told(failing("e4", 103.0)) == []
    assert len(three.told(failing("e5", 104.0))) == 1


def test_matches_before_the_end_of_the_last_order_count_no_more(three: Counting) -> None:
    (order,) = three.told(*[failing(f"e{n}", 100.0 + n) for n in range(3)])
    in_book(order, 103.0, three.book)
    assert three.told(failing("e4", 104.0)) == []  # it stands
    three.book.put_fact(Fact(order.order_id, FactKind.RELEASED, OPERATOR, "enough", 105.0), 99)
    assert three.told(failing("e5", 110.0), failing("e6", 111.0)) == []
    assert len(three.told(failing("e7", 112.0))) == 1


def test_so_many_of_the_last_so_many() -> None:
    aim = Aim(ScopeKind.CAMPAIGN, None)
    stage = Counting(throttled(Throttle(matches=Matches(2, 600.0, of=3)), aim))
    well = Status.COMPLETED
    assert stage.told(failing("e1", 1.0), failing("e2", 2.0, well), failing("e3", 3.0, well), failing("e4", 4.0)) == []
    (order,) = stage.told(failing("e5", 5.0))
    assert order.explanation is not None
    assert order.explanation["matches"] == {"found": 2, "of": 3, "within_seconds": 600.0}
    stage.connection.close()


def test_a_match_reads_as_it_was_written() -> None:
    match = Match("r", ACCOUNT, {"mobile_numbers": ["+15550000001"]}, 1.5, "e1", values={"a": 1})
    assert decode_match(encode_match(match)) == match
    assert b"+1555" not in match.key


def test_a_rule_is_not_asked_about_what_is_its_own_doing() -> None:
    def on_cancelled(told: CallEvent, call: Call) -> Stop | None:
        return Stop.number(call.number, reason="cancelled", hold=0) if told.status is Status.CANCELLED else None

    rules, book = Rules([EventRule("mine", "1", "h", on_cancelled)]), StoredOrderBook()
    over = event("e2", Status.CANCELLED, type=EventType.FINISHED, logged_at=5_000.0)
    call = folded(event("e1", Status.REGISTERED, number="+15550000001", logged_at=1_000.0), over)
    (order,), _ = rules.ask(over, call, book)
    in_book(order, 1_000.0, book)  # which has expired by the time of the event
    decided = call.with_decided((order.order_id,))
    assert rules.ask(over, decided, book) == ([], [])
    assert len(Rules([EventRule("other", "1", "h", on_cancelled)]).ask(over, decided, book)[0]) == 1
    shadow = StoredOrderBook()
    fields = {name: getattr(order, name) for name in StopOrder.__slots__}
    in_book(StopOrder(**fields | {"mode": Mode.SHADOW}), 1_000.0, shadow)
    assert len(rules.ask(over, decided, shadow)[0]) == 1  # in shadow, it was not its doing


def test_a_rule_that_raises_and_is_to_hold_asks_a_person() -> None:
    def broken(_: CallEvent, __: Call) -> Stop | None:
        raise LookupError("lost")

    aim = Aim(ScopeKind.NUMBER, 60.0)
    rules = Rules([EventRule("safe", "1", "h", broken, on_error="hold", aim=aim), EventRule("b", "1", "h", broken)])
    orders, failures = rules.ask(failing("e1", 1.0), CALL, StoredOrderBook())
    assert [(one.by.name, one.scope, one.hold) for one in orders] == [("safe", Scope.numbers(["+15550000001"]), 60.0)]
    assert orders[0].explanation is not None
    assert orders[0].explanation["error"] == "LookupError: lost"
    assert len(failures) == 2
    assert rules.ask(failing("e1", 1.0), waiting_call(), StoredOrderBook())[0] == []  # a call that says no number


def test_a_rule_that_takes_too_long_three_times_in_a_row_is_asked_no_more_and_the_others_are() -> None:
    slow = EventRule("slow", "1", "h", lambda _, __: None, budget_seconds=1e-9)
    rules = Rules([slow, throttled(Throttle())], node="here")
    said = [rules.judge(failing(f"e{n}", n * HOUR), CALL, StoredOrderBook()) for n in range(4)]
    assert [[failure.rule for failure in asked.failures] for asked in said] == [[], [], ["slow"], []]
    assert [len(asked.orders) for asked in said] == [1, 1, 1, 1]
    (alert,) = rules.alerts({}, 9.0)
    assert (alert.name, alert.active, alert.since) == ("slow-rule/slow/here", True, 9.0)
    assert "more than its budget" in alert.text
    (over,) = Rules([slow], node="here").alerts({alert.name: alert}, 10.0)  # a new start asks it again
    assert (over.name, over.active) == (alert.name, False)
    assert Rules([slow], node="there").alerts({alert.name: alert}, 10.0) == []


def test_an_explanation_masks_numbers_and_keeps_bodies_out() -> None:
    def tells(_: CallEvent, call: Call) -> Stop | None:
        stop = Stop.number(call.number, reason="because")
        values = {"event.number": call.number, "raw": {"a": 1}, "said": "call +1 555 000 0001 back", "n": 0.5}
        return Stop(stop.scope, stop.reason, stop.hold, values=values)

    (order,), _ = Rules([EventRule("mine", "2", "h", tells)]).ask(event(), CALL, StoredOrderBook())
    assert order.explanation == {
        "rule": "mine",
        "version": "2",
        "hash": "h",
        "values": {"event.number": "•••0001", "raw": "map of 1", "said": "call •••0001 back", "n": 0.5},
    }
