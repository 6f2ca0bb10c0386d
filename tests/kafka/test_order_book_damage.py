import asyncio
import sqlite3
from pathlib import Path

import pytest

from consumer.kafka.order_feed import order_record
from consumer.model.orders import Author, StopOrder
from consumer.model.scopes import Scope
from consumer.service.service import Role, Service
from tests.kafka.helpers import installed, until
from tests.kafka.service_stage import staged

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

BY = Author("operator", "ops")
ORDERS = [StopOrder(f"order-{n}", "acme", Scope.campaign(f"c{n}"), f"reason {n:04}", BY, hold=None) for n in range(300)]
PARTITIONS = {"call_events": 2, "scope_totals": 1, "terminations": 2, "rejected": 1}
GUARD = frozenset({Role.GUARD})
PAGE = 4096


def damage(path: Path, text: bytes) -> None:
    """Overwrite the page of an SQLite file on which a text stands."""
    content = path.read_bytes()
    start = content.index(text) // PAGE * PAGE
    path.write_bytes(content[:start] + b"\xff" * PAGE + content[start + PAGE :])


async def test_order_that_cannot_be_read_ends_the_process_once_and_the_next_start_reads_all_anew(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "views" / "orders" / "0.sqlite"
    async with staged(kafka_servers, topic_prefix, tmp_path) as stage:
        async with installed(kafka_servers, topic_prefix, **PARTITIONS) as log:
            await log.producer.publish_all(order_record(log.topics.stop_orders, order) for order in ORDERS)
        async with Service(stage.settings, GUARD) as service:
            work = asyncio.create_task(service.run())
            await until(lambda: service.feed.ready)
            for _ in service.feed.book.tidy():
                pass
            service.end()
            await work
        damage(path, b"reason 0150")

        async with Service(stage.settings, GUARD) as service:

            async def ask() -> None:
                service.feed.book.get("order-150")

            service.host.add_task("asks", ask)
            with pytest.raises(ExceptionGroup) as caught:
                await service.run()
            assert caught.group_contains(sqlite3.DatabaseError)
        assert not path.exists()

        async with Service(stage.settings, GUARD) as service:
            work = asyncio.create_task(service.run())
            await until(lambda: service.feed.ready)
            assert service.feed.records_folded == len(service.feed.book) == len(ORDERS)
            service.end()
            await work
