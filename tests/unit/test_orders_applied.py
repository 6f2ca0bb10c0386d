"""Orders meeting the calls of one partition: what comes to nothing holds up nothing."""

from pathlib import Path

from consumer.correlate.ask_rules import Rules
from consumer.correlate.shard import SCHEMA, CorrelateShard, Correlation
from consumer.kafka.connection import Connection
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.orders import StopOrder
from consumer.model.protected import Protected
from consumer.model.scopes import Scope
from tests.unit.values import RULE, order, waiting_call

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
