"""What the console knows of terminations is a view like any other: built again where it cannot be gone on with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from consumer.console.ledger_view import SLICE_CHANGES, LedgerView
from consumer.kafka.producer import OutRecord
from consumer.model.termination_codec import encode_request, encode_termination_record
from consumer.model.terminations import State, fold_termination
from consumer.terminate.entries import Request, attempts
from tests.kafka.helpers import Installation, in_background, installed, until
from tests.kafka.log_faults import make_again, take_away, warnings
from tests.unit.values import ACCOUNT, decision

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


async def decide(log: Installation, first: int, count: int) -> None:
    """Write decisions about so many calls."""
    records = [decision(f"call-{n}") for n in range(first, first + count)]
    topic = log.topics.terminations
    await log.producer.publish_all(
        OutRecord(topic.name, 0, r.termination_id.encode(), encode_termination_record(r)) for r in records
    )


@asynccontextmanager
async def following(
    log: Installation, folder: Path, begun: list[LedgerView] | None = None
) -> AsyncIterator[LedgerView]:
    """Run a ledger's view until it is ready; it is in ``begun`` before it reads anything."""
    view = LedgerView(log.connection, log.topics, log.cluster, folder / "console.sqlite")
    if begun is not None:
        begun.append(view)
    await view.start()
    try:
        async with in_background(view.run()):
            await until(lambda: view.ready)
            yield view
    finally:
        await view.stop()


def known(view: LedgerView, calls: int) -> list[int]:
    return [n for n in range(calls) if view.ledger.of_call(ACCOUNT, f"call-{n}")]


async def test_it_goes_on_from_its_file(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        await decide(log, 0, 5)
        async with following(log, tmp_path) as view:
            assert known(view, 10) == list(range(5))
            assert {(r.topic, r.begun, r.position, r.end) for r in view.readings()} == {
                (log.topics.terminations.name, 0, 5, 5),
                (log.topics.termination_log.name, 0, 0, 0),
            }
        await decide(log, 5, 5)
        async with following(log, tmp_path) as view:
            assert known(view, 10) == list(range(10))
            assert view.readings()[0].begun == 5


async def test_topic_made_again_begins_it_anew(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        await decide(log, 0, 5)
        async with following(log, tmp_path):
            pass
        await make_again(log, log.topics.terminations)
        await decide(log, 5, 8)
        async with following(log, tmp_path) as view:
            assert known(view, 20) == list(range(5, 13))
        (said,) = warnings(caplog)
        assert said.startswith("the view console is thrown away")
        assert said.endswith(f"topic {log.topics.terminations.name} was deleted and made again since")


async def test_records_that_retention_took_unread_begin_it_anew_also_while_it_runs(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.terminations
        await decide(log, 0, 5)
        async with following(log, tmp_path) as view:
            tps = view.reader._tps
            view.reader._client.pause(*tps)
            await decide(log, 5, 5)
            await take_away(log, topic, 8)
            view.reader._client.resume(*tps)
            await until(lambda: known(view, 10) == [8, 9] and view.ready)
        assert warnings(caplog)[0].endswith(
            f"{topic.name}/0 was read up to 5 and begins at 8 now: retention took what is between"
        )
        await decide(log, 10, 5)
        await take_away(log, topic, 12)
        async with following(log, tmp_path) as view:
            assert known(view, 15) == [12, 13, 14]


async def test_requests_for_thousands_of_calls_are_folded_between_others(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    requests, calls = 40, 100
    async with installed(kafka_servers, topic_prefix) as log:
        await decide(log, 0, requests * calls)
        topic = log.topics.termination_log
        for n in range(requests):
            asked = [fold_termination(None, decision(f"call-{n * calls + i}")) for i in range(calls)]
            written = encode_request(attempts(Request(f"request-{n}", tuple(asked)), 5.0))
            await log.producer.publish_all(OutRecord(topic.name, 0, key.encode(), value) for key, value in written)
        seen = [0]

        async def others() -> None:
            while seen[-1] < requests * calls:
                if view:
                    seen.append(view[0].ledger.count_of(ACCOUNT, State.REQUESTED))
                await asyncio.sleep(0)

        view: list[LedgerView] = []
        async with in_background(others()):
            async with following(log, tmp_path, view) as ledger:
                await until(lambda: ledger.ledger.count_of(ACCOUNT, State.REQUESTED) == requests * calls)
            assert max(after - before for before, after in pairwise(seen)) <= SLICE_CHANGES + calls
