"""The dispatcher and the console forget what the log has forgotten, on a real log and by its clock."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.kafka import ledger_forgetting
from consumer.kafka.producer import OutRecord
from consumer.model.orders import Mode
from consumer.model.termination_codec import encode_termination_record
from consumer.model.terminations import Decision, State
from tests.kafka.helpers import Installation, installed, until
from tests.kafka.test_ledger_view import following, known
from tests.kafka.test_terminate_dispatch import dispatching
from tests.unit.values import ACCOUNT, decision

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

OLD = 1_000_000_000.0


@pytest.fixture(autouse=True)
def looking_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_forgetting, "LOOK_EVERY_SECONDS", 0.0)


def in_shadow(calls: range) -> list[Decision]:
    """Decisions of long ago about calls that only a rule in shadow wanted: over as soon as they are made."""
    return [decision(f"call-{n}", mode=Mode.SHADOW, decided_at=OLD) for n in calls]


async def write(log: Installation, decisions: Sequence[Decision]) -> None:
    topic = log.topics.terminations
    await log.producer.publish_all(
        OutRecord(topic.name, 0, r.termination_id.encode(), encode_termination_record(r)) for r in decisions
    )


async def test_the_console_forgets_and_goes_on_from_there(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    calls = 3 * ledger_forgetting.CHOSEN_AT_MOST
    async with installed(kafka_servers, topic_prefix) as log:
        await write(log, [*in_shadow(range(calls)), decision(f"call-{calls}", decided_at=OLD)])
        async with following(log, tmp_path) as view:
            await until(lambda: known(view, calls + 1) == [calls])
            assert view.ledger.totals() == {State.WAITING: 1}
            assert view.ledger.counts("order-1")["matched"] == calls + 1
        await write(log, in_shadow(range(calls + 1, calls + 3)))
        async with following(log, tmp_path) as view:
            await until(lambda: known(view, calls + 3) == [calls])
            assert view.ledger.counts("order-1")["matched"] == calls + 3


async def test_the_dispatcher_forgets_what_is_over_and_keeps_what_waits(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with dispatching(kafka_servers, topic_prefix, tmp_path) as stage:
        waits = decision("waits", decided_at=OLD)  # the account is nobody's here, so nothing is done about it
        await stage.write([*in_shadow(range(1_000)), waits])
        shard = stage.shard(ACCOUNT)
        await until(lambda: shard.ledger.totals() == {State.WAITING: 1})
        rows = shard.view.connection.execute("SELECT termination_id FROM terminations").fetchall()
        assert rows == [(waits.termination_id,)]
        assert shard.ledger.counts("order-1")["matched"] == 1_001
