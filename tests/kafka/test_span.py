"""Reading a whole topic once, in the order of the broker's time."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from consumer.kafka import span
from consumer.kafka.bulk import Logged
from consumer.kafka.span import open_span
from tests.kafka.helpers import Installation, installed, text

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


async def everything(log: Installation, until: float | None = None) -> tuple[list[Logged], list[tuple[int, int]]]:
    """Read ``call-events``; gives the records, and how far it was after each batch."""
    found: list[Logged] = []
    progress = []
    async with open_span(log.connection, log.topics.call_events, name="test", until=until) as reading:
        async for batch in reading.batches():
            found += batch
            progress.append((reading.passed, reading.total))
    return found, progress


def values(records: Sequence[Logged]) -> list[bytes]:
    return [value or b"" for *_, value in records]


async def written(log: Installation, names: Sequence[str]) -> list[bytes]:
    """Write one record after the other, on the partitions in turn, each in a millisecond of its own."""
    topic = log.topics.call_events
    for n, name in enumerate(names):
        await log.producer.publish(text(topic, n % topic.partitions, name))
        await asyncio.sleep(0.002)
    return [name.encode() for name in names]


async def test_all_partitions_come_as_one_in_the_order_of_time(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span, "MOST_WAITING", 7)  # so that partitions wait for each other
    async with installed(kafka_servers, topic_prefix, call_events=4) as log:
        topic = log.topics.call_events
        await log.producer.publish_all([text(topic, 0, f"crowd-{n}") for n in range(40)])
        await written(log, [f"one-{n}" for n in range(3 * 13)])  # nothing more on the last partition
        found, progress = await everything(log)
    assert len(set(values(found))) == len(found) == 79
    places = [record[:3] for record in found]
    assert places == sorted(places)
    assert progress[-1] == (79, 79)
    assert sorted(progress) == progress


async def test_it_ends_at_a_time_and_where_the_log_ended_when_it_began(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        early = await written(log, ["a", "b", "c"])
        before = time.time()
        while int(time.time() * 1_000) <= int(before * 1_000) + 1:
            pass  # the broker tells milliseconds
        await written(log, ["d", "e"])
        found, _ = await everything(log, until=before + 0.001)
        async with open_span(log.connection, log.topics.call_events, name="test") as reading:
            await written(log, ["too late"])
            whole = [record async for batch in reading.batches() for record in batch]
    assert values(found) == early
    assert values(whole) == [*early, b"d", b"e"]


async def test_an_empty_topic_has_nothing(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        assert await everything(log) == ([], [])
