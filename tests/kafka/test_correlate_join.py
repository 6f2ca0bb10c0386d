import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord

from consumer.kafka.producer import OutRecord
from consumer.model import Status
from consumer.model.identity import termination_id
from consumer.model.orders import OPT_OUT, FactKind, Mode
from consumer.model.scopes import Scope
from consumer.model.termination_codec import decode_termination_record
from consumer.model.terminations import Decision, Ended
from tests.kafka.helpers import installed, until
from tests.kafka.joining_stage import ACCOUNT, PROTECTED_NUMBER, Joining, joining, names

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def join(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Joining]:
    async with (
        installed(kafka_servers, "join.") as log,
        joining(log, tmp_path_factory.mktemp("join")) as running,
    ):
        yield running


async def test_order_first_then_call_gives_a_decision(join: Joining) -> None:
    order_id = await join.order(Scope.campaign("first"))
    await join.event("first-1", campaign_id="first", agent_id="a", number="+15550001111")
    (decided,) = await join.decided("first-1")
    assert decided.orders == (order_id,)
    assert decided.termination_id == termination_id(ACCOUNT, "first-1", 0)
    assert (decided.episode, decided.mode, decided.status) == (0, Mode.ENFORCE, Status.REGISTERED)
    assert (decided.campaign_id, decided.agent_id, decided.number) == ("first", "a", "+15550001111")
    (position,) = decided.evidence
    assert position.topic == join.log.topics.call_events.name
    assert not decided.bulk


async def test_call_first_then_order_gives_the_same_termination(join: Joining) -> None:
    await join.event("second-1", campaign_id="second")
    await join.event("second-other", campaign_id="another")
    order_id = await join.order(Scope.campaign("second"))
    (decided,) = await join.decided("second-1")
    assert decided.orders == (order_id,)
    assert decided.termination_id == termination_id(ACCOUNT, "second-1", 0)
    assert decided.bulk
    await join.settled()
    assert join.decisions("second-other") == []
    assert len(join.decisions("second-1")) == 1


@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        (Scope.calls(["by-call", "unknown-call"]), {}),
        (Scope.agent("by-agent"), {"agent_id": "by-agent"}),
        (Scope.numbers(["+15550002222"]), {"number": "+15550002222"}),
        (Scope.numbers_in_campaign("by-both", ["+15550003333"]), {"number": "+15550003333", "campaign_id": "by-both"}),
    ],
    ids=["call", "agent", "number", "number-in-campaign"],
)
async def test_every_scope_meets_its_calls_before_and_after(
    join: Joining, scope: Scope, fields: dict[str, Any]
) -> None:
    early = "by-call" if scope.call_ids else f"early-{next(names)}"
    await join.event(early, **fields)
    await join.event(f"{early}-beside", number="+15550003333", campaign_id="another")
    await join.order(scope)
    await join.decided(early)
    late = "unknown-call" if scope.call_ids else f"late-{next(names)}"
    await join.event(late, **fields)
    await join.decided(late)
    assert join.decisions(f"{early}-beside") == []


async def test_order_that_holds_once_does_not_catch_later_calls(join: Joining) -> None:
    await join.event("once-before", campaign_id="once")
    await join.order(Scope.campaign("once"), hold=0.0)
    await join.decided("once-before")
    await join.event("once-after", campaign_id="once")
    await join.settled()
    assert join.decisions("once-after") == []


async def test_released_and_expired_orders_do_not_catch_later_calls(join: Joining) -> None:
    released = await join.order(Scope.campaign("released"))
    await join.event("released-before", campaign_id="released")
    await join.decided("released-before")
    await join.release(released)
    await join.event("released-after", campaign_id="released")
    expired = await join.order(Scope.campaign("expired"), hold=0.001)
    known = join.feed.book.get(expired)
    assert known is not None
    await until(lambda: not known.in_force(time.time() - 0.05))
    await join.event("expired-after", campaign_id="expired")
    await join.settled()
    assert join.decisions("released-after") == join.decisions("expired-after") == []


async def test_call_that_connects_ends_its_episode(join: Joining) -> None:
    await join.order(Scope.campaign("connects"))
    await join.event("connects-1", campaign_id="connects")
    await join.decided("connects-1")
    await join.event("connects-1", Status.ONGOING)
    await until(lambda: len(join.said("connects-1")) == 2)
    ended = join.said("connects-1")[1]
    assert isinstance(ended, Ended)
    assert (ended.status, ended.episode) == (Status.ONGOING, 0)
    assert ended.termination_id == termination_id(ACCOUNT, "connects-1", 0)
    await join.event("connects-1", Status.COMPLETED, attempt=0)
    await join.settled()
    assert len(join.said("connects-1")) == 2


async def test_retry_under_an_order_is_a_new_episode_with_a_new_termination(join: Joining) -> None:
    await join.order(Scope.campaign("retries"))
    await join.event("retries-1", campaign_id="retries")
    await join.event("retries-1", Status.ONGOING, attempt=0)
    await join.event("retries-1", Status.RETRY, attempt=0)
    first, second = await join.decided("retries-1", times=2)
    assert (first.episode, second.episode) == (0, 1)
    assert second.termination_id == termination_id(ACCOUNT, "retries-1", 1) != first.termination_id
    assert second.status is Status.RETRY
    await join.event("retries-1", Status.CANCELLED)
    await until(lambda: len(join.said("retries-1")) == 4)
    ended = join.said("retries-1")[3]
    assert isinstance(ended, Ended)
    assert (ended.termination_id, ended.status) == (second.termination_id, Status.CANCELLED)


async def test_duplicates_and_late_events_decide_nothing_again(join: Joining) -> None:
    await join.order(Scope.campaign("repeats"))
    for _ in range(3):
        await join.event("repeats-1", campaign_id="repeats")
    await join.event("repeats-1", Status.COMPLETED, attempt=0)
    await join.event("repeats-1", Status.ONGOING, attempt=0)
    await join.event("repeats-1")
    await join.settled()
    assert [type(record) for record in join.said("repeats-1")] == [Decision, Ended]


async def test_second_order_for_a_decided_call_adds_itself_to_the_same_termination(join: Joining) -> None:
    await join.event("two-1", campaign_id="two", agent_id="two-agent")
    shadow = await join.order(Scope.campaign("two"), mode=Mode.SHADOW)
    (first,) = await join.decided("two-1")
    assert (first.mode, first.orders) == (Mode.SHADOW, (shadow,))
    enforced = await join.order(Scope.agent("two-agent"))
    second = (await join.decided("two-1", times=2))[1]
    assert (second.termination_id, second.mode) == (first.termination_id, Mode.ENFORCE)
    assert set(second.orders) == {shadow, enforced}


async def test_opt_out_stops_the_other_calls_of_the_number(join: Joining) -> None:
    number = "+15550004444"
    await join.event("optout-talked", number=number)
    for n in range(3):
        await join.event(f"optout-waiting-{n}", number=number)
    await join.event("optout-other", number="+15550005555")
    await join.event("optout-talked", Status.ONGOING, attempt=0)
    await join.event("optout-talked", Status.COMPLETED, attempt=0)
    await join.event("optout-talked", None, analysis={"opt_out": True})
    for n in range(3):
        (decided,) = await join.decided(f"optout-waiting-{n}")
        assert decided.lane == OPT_OUT
    await until(lambda: any(order.scope == Scope.numbers([number]) for order in join.orders_of("opt_out")))
    (order,) = [order for order in join.orders_of("opt_out") if order.scope == Scope.numbers([number])]
    assert order.by.kind == "rule"
    assert order.by.hash
    record = join.feed.book.get(order.order_id)
    assert record is not None
    admitted = record.fact(FactKind.ADMITTED)
    assert admitted is not None
    assert admitted.by.kind == "guard"
    await join.event("optout-later", number=number)
    await join.decided("optout-later")
    await join.event("optout-talked", None, analysis={"opt_out": "yes"})  # the same wish once more
    await join.settled()
    assert len([order for order in join.orders_of("opt_out") if order.scope == Scope.numbers([number])]) == 1
    assert join.decisions("optout-other") == join.decisions("optout-talked") == []


async def test_protected_number_is_spared_by_a_rule_and_not_by_an_operator(join: Joining) -> None:
    await join.event("protected-1", number=PROTECTED_NUMBER, campaign_id="protected")
    await join.event("unprotected-1", campaign_id="protected")
    await join.event("protected-asks", campaign_id="protected", args={"stop campaign": True})
    await join.decided("unprotected-1")
    await join.settled()
    assert join.decisions("protected-1") == []
    order_id = await join.order(Scope.numbers([PROTECTED_NUMBER]))
    (decided,) = await join.decided("protected-1")
    assert order_id in decided.orders


async def test_rule_that_raises_is_recorded_and_stops_nothing(join: Joining) -> None:
    await join.event("explodes-1", campaign_id="explodes", args={"explode": True, "stop campaign": True})
    await join.decided("explodes-1")  # the other rule was asked all the same
    await until(lambda: any(record.get("call_id") == "explodes-1" for record in join.rejected()))
    (failure,) = [record for record in join.rejected() if record.get("call_id") == "explodes-1"]
    assert failure["source"] == "rule"
    assert failure["rule"] == "explodes"
    assert failure["reason"] == "ZeroDivisionError: of its own"
    assert failure["evidence"]["topic"] == join.log.topics.call_events.name


async def test_record_that_is_no_event_is_skipped(join: Joining) -> None:
    topic = join.log.topics.call_events
    for value in (b"junk", b"[]", b"{}", b'{"account": 1}', None):
        await join.log.producer.publish(OutRecord(topic.name, 0, b"acme/junk", value))
    await join.settled()


async def test_lost_view_repeats_decisions_under_the_same_ids_and_forgets_none(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    def ids(records: Sequence[ConsumerRecord]) -> set[str]:
        return {decode_termination_record(record.value).termination_id for record in records}

    async with installed(kafka_servers, topic_prefix) as log:
        async with joining(log, tmp_path / "one") as first:
            for n in range(30):
                await first.event(f"call-{n}", campaign_id="lost")
            await first.order(Scope.campaign("lost"))
            await until(lambda: len(first.tail.of(log.topics.terminations)) == 30)
            before = ids(first.tail.of(log.topics.terminations))
        view = sqlite3.connect(tmp_path / "one" / "correlate" / "0.sqlite")
        assert view.execute("SELECT count(*) FROM calls WHERE cohort IS NOT NULL").fetchone() == (30,)
        view.close()
        async with joining(log, tmp_path / "another node") as second:
            await second.event("call-30", campaign_id="lost")
            await until(lambda: len(second.tail.of(log.topics.terminations)) == 61)
            assert ids(second.tail.of(log.topics.terminations)) == before | {termination_id(ACCOUNT, "call-30", 0)}
            await second.settled()
            assert len(second.tail.of(log.topics.terminations)) == 62
