"""A topic that is taken away under a producer: its records wait, those of other topics do not."""

import asyncio

import pytest

from consumer.kafka.errors import LogUnavailable
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.topics import ensure_topics
from tests.kafka.helpers import installed, text
from tests.kafka.log_faults import administering
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


async def taken(producer: Producer, record: OutRecord) -> bool:
    try:
        await producer.publish(record, within_seconds=1.0)
    except LogUnavailable:
        return False
    return True


async def test_records_for_a_deleted_topic_wait_until_it_is_there_again_and_hold_up_no_other(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        gone, other, producer = log.topics.call_events, log.topics.rejected, log.producer
        await producer.publish(text(gone, 0, "before"))
        async with administering(log) as admin:
            await admin.delete_topics([gone.name])
        while await taken(producer, text(gone, 0, "given up")):
            pass  # the broker may take some until it has heard of it
        waiting = [producer.publish(text(gone, 0, f"waiting {n}")) for n in range(3)]
        for n in range(5):
            assert await asyncio.wait_for(producer.publish(text(other, 0, f"other {n}")), PATIENCE_SECONDS) == n
        assert not any(future.done() for future in waiting)
        await ensure_topics(log.connection, log.topics)
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)
        found = [record.value.decode() for record in await log.read(gone)]
        assert [value for value in dict.fromkeys(found) if value != "given up"] == [f"waiting {n}" for n in range(3)]
