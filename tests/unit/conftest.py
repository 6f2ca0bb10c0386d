from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.terminate.shard import SCHEMA, TerminateShard
from handlers.providers.table import PROVIDERS
from tests.unit.values import ACCOUNT, account


@pytest.fixture
def book() -> StoredOrderBook:
    return StoredOrderBook()


@pytest.fixture
def shard(tmp_path: Path, book: StoredOrderBook) -> Iterator[TerminateShard]:
    """Give the shard of terminate's only partition, with one account."""
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    topics = Topics.named(terminations=1)
    yield TerminateShard(view, topics=topics, book=book, accounts={ACCOUNT: account()}, providers=PROVIDERS)
    view.close()
