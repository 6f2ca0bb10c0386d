"""What is looked at once more right before a request: the parts of a batch, what may be cut, what is only in shadow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.orders import Fact, FactKind, Mode, Reach
from consumer.model.scopes import Scope
from consumer.model.status import Status
from consumer.model.terminations import Result, State
from consumer.terminate.choosing import Choice
from consumer.terminate.shard import SCHEMA, TerminateShard
from handlers.providers.ringg import Ringg
from handlers.providers.table import PROVIDERS
from tests.unit.values import ACCOUNT, OPERATOR, account, decision, ended, order

NOW = 1_050.0
CAMPAIGN = Scope.campaign("campaign-1")


class MayCut(Ringg):
    capabilities = replace(Ringg.capabilities, everything_spares_live=False)


def choose(shard: TerminateShard) -> Choice:
    return shard.chooser.choose(account(), NOW, 100, set())


def outcomes(choice: Choice) -> list[State | None]:
    return [result.outcome for result in choice.settled if isinstance(result, Result)]


def test_of_a_batch_that_was_set_aside_only_those_leave_that_are_still_to_be_stopped(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.put_order(order("order-1"), 0)
    book.put_order(order("order-2"), 1)
    wanted = [decision("waits"), decision("has ended"), decision("is released", orders=("order-2",))]
    for one in wanted:
        shard.ledger.fold(one)
    ids = (*(one.termination_id for one in wanted), "of a ledger that we do not hold any more")
    assert [t.call_id for t in shard.chooser.still_wanted(ids, NOW)] == ["waits", "has ended", "is released"]
    shard.ledger.fold(ended(Status.ONGOING, call_id="has ended"))
    book.put_fact(Fact("order-2", FactKind.RELEASED, OPERATOR, "enough", at=1_040.0), 2)
    assert [t.call_id for t in shard.chooser.still_wanted(ids, NOW)] == ["waits"]


@pytest.mark.parametrize(("allow_live", "goes"), [(False, False), (True, True)])
def test_a_stop_that_may_cut_live_calls_leaves_only_for_an_order_that_allows_it(
    tmp_path: Path, book: StoredOrderBook, allow_live: bool, goes: bool
) -> None:
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    providers = {**PROVIDERS, "ringg": MayCut()}
    topics = Topics.named(terminations=1)
    shard = TerminateShard(view, topics=topics, book=book, accounts={ACCOUNT: account()}, providers=providers)
    book.put_order(order(scope=CAMPAIGN, reach=Reach.EVERYTHING, allow_live=allow_live), 0)
    shard.ledger.fold(decision("", scope=CAMPAIGN))
    choice = choose(shard)
    assert [t.scope for t in choice.batch] == [CAMPAIGN] * goes
    assert outcomes(choice) == [State.FAILED] * (not goes)
    view.close()


@pytest.mark.parametrize("given", [{"mode": Mode.SHADOW}, {"mode": Mode.CANARY, "canary_share": 0.0}])
def test_what_its_order_does_not_mean_is_not_asked_for_whatever_was_decided(
    shard: TerminateShard, book: StoredOrderBook, given: dict[str, Any]
) -> None:
    book.put_order(order(**given), 0)
    shard.ledger.fold(decision("call-1"))
    choice = choose(shard)
    assert (choice.batch, outcomes(choice)) == ((), [State.WITHDRAWN])
