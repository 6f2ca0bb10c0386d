"""Orders meeting the calls of one partition: what comes to nothing holds up nothing."""

from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer.correlate.ask_rules import Rules
from consumer.correlate.shard import SCHEMA, CorrelateShard, Correlation
from consumer.kafka.connection import Connection
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.codec import encode_event
from consumer.model.counts import CountedUpTo, OrderCount, Said, decode_said, is_said
from consumer.model.identity import call_key
from consumer.model.orders import StopOrder
from consumer.model.protected import Protected
from consumer.model.scopes import A_FEW, Scope
from consumer.model.status import Status
from tests.unit.values import ACCOUNT, RULE, event, order, waiting_call

NOW = 1_500.0
TOPICS = Topics.named()
SMALL_ORDERS = 400


class ReadFeed(OrderFeed):
    """The orders once the topic has been read."""

    def __init__(self, *orders: StopOrder) -> None:
        super().__init__(Connection("127.0.0.1:1"), TOPICS.stop_orders)
        self.give(*orders)

    @property
    def ready(self) -> bool:
        return True

    def give(self, *orders: StopOrder) -> None:
        for one in orders:
            self.book.put_order(one, self.next_offset)
            self.next_offset += 1


def shard_with(view: View, feed: OrderFeed) -> CorrelateShard:
    correlation = Correlation(TOPICS, feed, Rules([]), Protected(), counting=True)
    shard = CorrelateShard(view, partition=0, correlation=correlation)
    shard.go_live(caught_up=True)
    return shard


def steps_until_quiet(shard: CorrelateShard) -> list[int]:
    """Work until nothing is left; gives how many terminations each step came to."""
    steps = []
    while True:
        outputs, more = shard.work(NOW)
        steps.append(sum(record.topic == TOPICS.terminations.name for record in outputs))
        with shard.view.transaction({}) as connection:
            while shard.save(connection):
                pass
        if not more:
            return steps


def test_orders_of_rules_that_match_no_call_do_not_hold_up_an_operators_order(tmp_path: Path) -> None:
    feed = ReadFeed(order("before"))
    shard = shard_with(View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c"), feed)
    shard.calls.put(waiting_call(campaign_id="campaign-1"), None)
    steps_until_quiet(shard)
    small = [order(f"rule-{n}", by=RULE, scope=Scope.numbers([f"+9190000{n:05}"])) for n in range(SMALL_ORDERS)]
    feed.give(*small, order("operator"))
    steps = steps_until_quiet(shard)
    assert sum(steps) == 1
    assert len(steps) < SMALL_ORDERS / 10


def worked(shard: CorrelateShard) -> list[OutRecord]:
    """What it writes until nothing is left to be done, without being saved meanwhile."""
    outputs, more = shard.work(NOW)
    while more:
        news, more = shard.work(NOW)
        outputs += news
    return outputs


def test_a_partition_that_comes_back_says_again_how_far_it_has_counted(tmp_path: Path) -> None:
    feed = ReadFeed(order("before"))
    shard = shard_with(View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c"), feed)
    feed.give(order("proposed", by=RULE))
    first = worked(shard)
    later = NOW + 1.0
    assert shard.work(later) == ([], False)
    shard.go_live(caught_up=True)  # meanwhile another owner may have said that it is still reading
    assert shard.work(later) == (first, False)


NUMBER = "+911111111"


class Logged(NamedTuple):
    value: bytes
    offset: int
    key: bytes
    topic: str = TOPICS.call_events.name
    partition: int = 0
    timestamp: int = 1_400_000
    headers: tuple[tuple[str, bytes], ...] = ()


offsets = count()


def heard(shard: CorrelateShard, call_id: str, **fields: str) -> None:
    """Fold that a call waits; nothing of it is saved."""
    told = event(f"e-{call_id}", Status.REGISTERED, call_id=call_id, **fields)
    key = call_key(ACCOUNT, call_id)
    shard.fold([Logged(encode_event(told), next(offsets), key)], live=True)


def saved(shard: CorrelateShard) -> None:
    with shard.view.transaction({}) as connection:
        while shard.save(connection):
            pass


@pytest.fixture
def feed() -> ReadFeed:
    return ReadFeed(order("before", scope=Scope.calls(["nobody"])))


@pytest.fixture
def shard(tmp_path: Path, feed: ReadFeed) -> CorrelateShard:
    shard = shard_with(View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c"), feed)
    steps_until_quiet(shard)
    return shard


SCOPES = {
    "number": (Scope.numbers([NUMBER]), {"number": NUMBER}),
    "campaign": (Scope.campaign("spring"), {"campaign_id": "spring"}),
    "agent": (Scope.agent("kim"), {"agent_id": "kim"}),
    "number in campaign": (
        Scope.numbers_in_campaign("spring", [NUMBER]),
        {"number": NUMBER, "campaign_id": "spring"},
    ),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_partition_is_saved_before_an_order_looks_only_where_it_would_find_more(
    shard: CorrelateShard, feed: ReadFeed, scope: str
) -> None:
    aimed_at, fields = SCOPES[scope]
    heard(shard, "waits", **fields)
    saved(shard)
    heard(shard, "another", number="+922222222", campaign_id="autumn", agent_id="lee")
    feed.give(order("stop", scope=aimed_at))
    assert not shard.looks_into_rows(NOW)
    assert decided(shard.work(NOW)[0]) == 1
    heard(shard, "unsaved", number="+933333333")
    feed.give(order("again", scope=Scope.numbers(["+933333333"])))
    heard(shard, "mine", **fields)
    feed.give(order("all of it", scope=aimed_at))
    assert shard.looks_into_rows(NOW)


def test_what_has_to_be_looked_at_much_is_saved_first(shard: CorrelateShard, feed: ReadFeed) -> None:
    feed.give(*(order(f"small-{n}", scope=Scope.numbers([f"+9190000{n:05}"])) for n in range(A_FEW)))
    assert not shard.looks_into_rows(NOW)
    feed.give(order("one more", scope=Scope.calls(["nobody"])))
    assert shard.looks_into_rows(NOW)
    steps_until_quiet(shard)
    assert not shard.looks_into_rows(NOW)
    feed.give(order("long", scope=Scope.numbers([f"+9190000{n:05}" for n in range(A_FEW + 1)])))
    assert shard.looks_into_rows(NOW)


def test_an_order_is_counted_for_with_calls_that_are_not_saved_yet(shard: CorrelateShard, feed: ReadFeed) -> None:
    heard(shard, "saved", number=NUMBER, campaign_id="spring")
    saved(shard)
    heard(shard, "unsaved", number="+922222222", campaign_id="spring")
    feed.give(order("proposed", by=RULE, scope=Scope.numbers([NUMBER])))
    assert not shard.looks_into_rows(NOW)
    matched, up_to = said(shard.work(NOW)[0])
    assert isinstance(matched, OrderCount)
    assert isinstance(up_to, CountedUpTo)
    assert (matched.matched, matched.open_in, up_to.open_calls) == (1, {"spring": 2}, {ACCOUNT: 2})
    heard(shard, "third", number="+933333333")
    feed.give(order("of no call", by=RULE, scope=Scope.numbers(["+944444444"])))
    (up_to,) = said(shard.work(NOW + 1.0)[0])
    assert isinstance(up_to, CountedUpTo)
    assert up_to.open_calls == {ACCOUNT: 3}


def decided(outputs: list[OutRecord]) -> int:
    return sum(record.topic == TOPICS.terminations.name for record in outputs)


def said(outputs: list[OutRecord]) -> list[Said]:
    return [decode_said(record.value or b"") for record in outputs if is_said(record.key)]
