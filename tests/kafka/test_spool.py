"""``http.spool`` in one process: what Kafka does not take in time is on the disk, and comes to Kafka when that is back."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumer.ingest import desk
from consumer.ingest.spool import Spool, spool_in
from consumer.kafka.topics import Topic
from consumer.model.identity import call_key
from tests.kafka.helpers import Breakable, Installation, in_background, installed, limit_records, noise, text, until
from tests.kafka.ingest_stage import Ingest, completed, serving
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

MEBIBYTE = 1024 * 1024


@asynccontextmanager
async def spooling(log: Installation, folder: Path, most_bytes: int = MEBIBYTE) -> AsyncIterator[Spool]:
    topics = (log.topics.call_events, log.topics.rejected)
    with spool_in(folder, topics=topics, most_bytes=most_bytes) as spool:
        assert spool
        async with in_background(spool.run(log.producer)):
            yield spool


async def send(ingest: Ingest, *names: str) -> set[int]:
    return {answer.status for answer in await asyncio.gather(*[ingest.send(completed(name)) for name in names])}


async def calls_in(log: Installation, topic: Topic) -> list[bytes]:
    return [record.key for record in await log.read(topic)]


async def test_kafka_is_killed_and_no_webhook_is_lost(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"away-{n}" for n in range(50)]
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        spooling(log, tmp_path) as spool,
        serving(log, spool) as ingest,
    ):
        assert await send(ingest, "before") == {200}
        assert not spool._behind
        async with breakable_kafka.killed():
            assert await send(ingest, *names[:25]) == {200}
            assert spool._behind
            async with asyncio.timeout(desk.ACK_ELSE_SPOOL_SECONDS):  # nobody waits for Kafka any more
                assert await send(ingest, *names[25:]) == {200}
            broken = await ingest.send(b"{no JSON")
            assert (broken.status, broken.body["title"]) == (400, "not JSON")
            assert spool._file.records == len(names) + 1
        await until(lambda: not spool._file.records)
        assert not spool._behind
        assert await send(ingest, "after") == {200}
        assert not spool._file.records
        wanted = {call_key("acme", name) for name in ("before", *names, "after")}
        assert {*await calls_in(log, log.topics.call_events)} == wanted
        rejected = await ingest.kept(log.topics.rejected, b"no JSON")
        assert 1 <= len(rejected) <= 2  # it may have left before its time was up
        assert all(broken.body["event_id"].encode() in record.value for record in rejected)
        _, event = await ingest.event("away-49")
        assert (event.account, event.raw["call_id"]) == ("acme", "away-49")
    assert f"they are kept in {tmp_path}/0.sqlite" in caplog.text
    assert f"every webhook that waited in {tmp_path}/0.sqlite is in Kafka" in caplog.text


async def test_a_broker_that_does_not_answer_may_have_the_event_and_then_has_it_twice(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ACK_ELSE_SPOOL_SECONDS", 0.5)
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        spooling(log, tmp_path) as spool,
        serving(log, spool) as ingest,
    ):
        with breakable_kafka.paused():
            answer = await ingest.send(completed("frozen"))
            assert answer.status == 200
            assert spool._file.records == 1
        await until(lambda: not spool._file.records)
        records = await ingest.kept(log.topics.call_events, b"frozen")
        assert 1 <= len(records) <= 2
        assert all(answer.body["event_id"].encode() in record.value for record in records)


async def test_what_was_kept_goes_to_kafka_at_the_next_start_even_where_nothing_may_be_kept_any_more(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix) as log:
        async with breakable_kafka.killed():
            async with spooling(log, tmp_path) as spool, serving(log, spool) as ingest:
                assert await send(ingest, "left-1", "left-2") == {200}
            await log.producer.stop(0.1)
        assert not await calls_in(log, log.topics.call_events)
    async with installed(breakable_kafka.servers, topic_prefix) as log, spooling(log, tmp_path, 0) as spool:
        await until(lambda: not spool._file.records)
        found = await calls_in(log, log.topics.call_events)
        assert sorted(found) == [call_key("acme", "left-1"), call_key("acme", "left-2")]
        assert not spool.takes(text(log.topics.call_events, 0, "another"))


async def test_a_full_disk_or_a_full_spool_is_503_and_loses_nothing_that_was_taken(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        spooling(log, tmp_path, 20_000) as spool,
        serving(log, spool) as ingest,
    ):
        async with breakable_kafka.killed():
            assert await send(ingest, "kept") == {200}
            await spool._on_disk(lambda: spool._file._connection.execute("PRAGMA max_page_count = 3"))
            assert (await ingest.send(completed("no-room", transcript=noise(10_000)))).status == 503
            await spool._on_disk(lambda: spool._file._connection.execute("PRAGMA max_page_count = 1000"))
            taken = [name for name in map(str, range(100)) if await send(ingest, name) == {200}]
            assert 5 < len(taken) < 95
            assert not spool.has_room
        await until(lambda: not spool._file.records)
        wanted = {call_key("acme", name) for name in ("kept", *taken)}
        assert {*await calls_in(log, log.topics.call_events)} == wanted
        assert spool.has_room


async def test_where_the_disk_cannot_be_written_kafka_is_tried_again(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        spooling(log, tmp_path) as spool,
        serving(log, spool) as ingest,
    ):
        await spool._on_disk(lambda: spool._file._connection.execute("PRAGMA max_page_count = 3"))
        async with breakable_kafka.killed():
            assert (await ingest.send(completed("no-disk", transcript=noise(10_000)))).status == 503
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await ingest.send(completed("no-disk", transcript=noise(10_000)))).status != 200:
                await asyncio.sleep(0.1)
        assert {*await calls_in(log, log.topics.call_events)} == {call_key("acme", "no-disk")}
        assert not spool._file.records


async def test_a_disk_that_stands_still_is_503(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.ingest.spool.DISK_SECONDS", 0.3)
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        spooling(log, tmp_path) as spool,
        serving(log, spool) as ingest,
    ):
        async with breakable_kafka.killed():
            goes_on = threading.Event()
            stands_still = spool._disk.submit(goes_on.wait)
            try:
                assert (await ingest.send(completed("late"))).status == 503
            finally:
                goes_on.set()
            assert stands_still.result()
        await until(lambda: not spool._behind)
        assert await send(ingest, "late") == {200}
        assert {*await calls_in(log, log.topics.call_events)} == {call_key("acme", "late")}


async def test_what_cannot_be_struck_off_is_as_soon_as_the_disk_lets_us(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        spooling(log, tmp_path) as spool,
        serving(log, spool) as ingest,
    ):
        async with breakable_kafka.killed():
            assert await send(ingest, "first", "second") == {200}
            await spool._on_disk(lambda: spool._file._connection.execute("PRAGMA query_only = ON"))
        await until(lambda: not spool._behind)
        assert await send(ingest, "third") == {200}
        await until(lambda: "0.sqlite cannot be used (attempt to write a readonly database)" in caplog.text)
        assert "let this process write to data_dir" in caplog.text
        assert spool._file.records == 2
        await spool._on_disk(lambda: spool._file._connection.execute("PRAGMA query_only = OFF"))
        await until(lambda: not spool._file.records)
        wanted = {call_key("acme", name) for name in ("first", "second", "third")}
        assert {*await calls_in(log, log.topics.call_events)} == wanted


async def test_a_record_that_kafka_refuses_stays_and_holds_up_no_other(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, spooling(log, tmp_path) as spool:
        topic = log.topics.call_events
        await limit_records(kafka_servers, topic, 20_000)
        records = [text(topic, 0, value) for value in ("first", noise(50_000), "last")]
        await spool.keep(records)
        await until(lambda: spool._file.records == 1)
        assert not spool._behind
        assert [record.value for record in await log.read(topic)] == [b"first", b"last"]
        assert "raise max.message.bytes" in caplog.text
        await limit_records(kafka_servers, topic, 1_000_000)
    async with installed(kafka_servers, topic_prefix) as log, spooling(log, tmp_path) as spool:
        await until(lambda: not spool._file.records)
        assert len(await log.read(topic)) == 3


async def test_what_is_no_webhook_is_not_kept(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    async with installed(kafka_servers, topic_prefix) as log, spooling(log, tmp_path) as spool:
        assert spool.takes(text(log.topics.rejected, 0, "kept"))
        assert not spool.takes(text(log.topics.scope_totals, 0, "a signal that comes late is worse than none"))


async def test_without_a_size_and_without_anything_left_there_is_no_spool(tmp_path: Path) -> None:
    with spool_in(tmp_path / "spool", topics=(), most_bytes=0) as spool:
        assert spool is None
    assert not (tmp_path / "spool").exists()
