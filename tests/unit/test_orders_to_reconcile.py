from pathlib import Path

import pytest

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.scopes import Scope
from consumer.terminate import shard
from consumer.terminate.reconcile import queries_for
from consumer.terminate.shard import SCHEMA, TerminateShard
from tests.unit.values import ACCOUNT, order

NOW = 2_000.0


def shard_with(book: StoredOrderBook, folder: Path) -> TerminateShard:
    view = View(folder / "0.sqlite", SCHEMA, cluster_id="c")
    return TerminateShard(view, topics=Topics.embedded(), book=book, accounts={}, providers={})


def test_a_million_opt_outs_ask_for_no_more_listings_than_one(tmp_path: Path) -> None:
    book = StoredOrderBook()
    opt_outs = [order(f"opt-out-{n}", scope=Scope.numbers([f"+9170{n:08}"])) for n in range(500)]
    book.fold(list(enumerate([*opt_outs, order("campaign"), order("call", scope=Scope.calls(["call-1"]))])))
    owned = shard_with(book, tmp_path)
    wanted = owned.orders_to_sweep_for(ACCOUNT, NOW)
    assert len(wanted) == 2
    assert set(queries_for(wanted)) == set(queries_for(record for record in book))
    owned.view.close()


def test_orders_that_name_calls_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "NAMING_AT_ONCE", 2)
    book = StoredOrderBook()
    for n in range(3):
        book.put_order(order(f"calls-{n}", scope=Scope.calls([f"call-{n}"]), at=NOW, hold=600.0 + n), n)
    owned = shard_with(book, tmp_path)
    turns = [[record.order.order_id for record in owned.orders_naming_calls(ACCOUNT, NOW)] for _ in range(4)]
    assert turns == [["calls-0", "calls-1"], ["calls-2"], ["calls-0", "calls-1"], ["calls-2"]]
    owned.view.close()
