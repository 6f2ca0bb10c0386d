"""What becomes of stops whatever the provider answers, and what the dispatcher is loud about."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import pytest_asyncio
from aiohttp import web

from consumer.kafka.order_feed import control_record
from consumer.model.controls import Lever
from consumer.model.masking import MASK
from consumer.model.orders import EMERGENCY, Author, FactKind
from consumer.model.terminations import AnswerClass, Result, State
from consumer.terminate import alarms, breaker
from consumer.terminate.account_loop import AccountLoop
from tests.kafka.helpers import API_KEY, until
from tests.kafka.test_terminate_dispatch import OK, Dispatching, Seen, always, dispatching, ids

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

RULE = Author("rule", "r", "1", "h")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dispatching]:
    async with dispatching(kafka_servers, "answers.", tmp_path_factory.mktemp("answers")) as running:
        yield running


def answers_of(stage: Dispatching, account: str) -> set[AnswerClass | None]:
    return {r.answer for r in stage.logged(account) if isinstance(r, Result) and r.request_id}


@pytest.mark.parametrize(
    ("account", "status", "kind"),
    [
        ("forbidden", 403, AnswerClass.PERMISSION),
        ("unpaid", 402, AnswerClass.PERMISSION),
        ("teapot", 418, AnswerClass.CONFIGURATION),
    ],
)
async def test_refused_account_is_held_with_an_alert_until_a_probe_goes_well_and_nothing_is_dropped(
    stage: Dispatching,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    account: str,
    status: int,
    kind: AnswerClass,
) -> None:
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(alarms, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(alarms, "REPEAT_SECONDS", 1.0)
    calls = ids(account, 5)
    stage.provider.respond[account] = always(status, {"message": "not you"})
    await stage.decide(account, calls, await stage.order(account))
    name = f"account-held/{account}"
    await until(lambda: name in stage.feed.controls.alerts)
    assert stage.feed.controls.alerts[name].text.endswith(f"{kind}: not you")
    await until(lambda: len(stage.provider.stops(account)) >= 3)
    assert answers_of(stage, account) == {kind}
    assert {len(seen.call_ids) for seen in stage.provider.stops(account)[1:]} == {1}
    assert f" for 5 calls: {kind} (HTTP {status}), not you" in caplog.text
    assert f" for 1 call: {kind} (HTTP {status}), not you" in caplog.text
    assert stage.states(account, calls) <= {State.WAITING, State.REQUESTED}
    stage.provider.respond.pop(account)
    await stage.all_are(account, calls, State.ACCEPTED)
    await until(lambda: name not in stage.feed.controls.alerts)


async def test_what_a_provider_quotes_reaches_neither_alerts_nor_the_log(
    stage: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(MASK, "_secrets", (API_KEY,))
    quoted = f"{API_KEY} may not stop the call to +4915112345678"
    stage.provider.respond["quoting"] = always(401, {"message": quoted})
    await stage.decide("quoting", ["call"], await stage.order("quoting"))
    name = "account-held/quoting"
    await until(lambda: name in stage.feed.controls.alerts)
    shown = "•••• may not stop the call to •••5678"
    assert stage.feed.controls.alerts[name].text.endswith(shown)
    assert {r.detail for r in stage.logged("quoting") if isinstance(r, Result)} == {shown}
    topics = stage.log.topics
    for topic in (topics.stop_orders, topics.termination_log):
        written = b"".join(record.value or b"" for record in await stage.log.read(topic))
        assert API_KEY.encode() not in written
        assert b"4915112345678" not in written


async def test_a_new_owner_keeps_to_the_refusal_that_the_last_one_met(stage: Dispatching) -> None:
    stage.provider.respond["handed-over"] = always(401, {"message": "invalid key"})
    await stage.decide("handed-over", ["call"], await stage.order("handed-over"))
    await until(lambda: answers_of(stage, "handed-over") == {AnswerClass.CREDENTIALS})
    last = stage.role._loops["handed-over"]
    new = AccountLoop(last._account, last._provider, last._parts)
    try:
        known = new.health()
        assert known is not None
        assert (known.health.held, known.health.requests) == ("credentials: invalid key", 0)
    finally:
        await new._desk.close(0)


async def test_conflict_may_have_acted_and_is_looked_at_before_it_is_repeated(stage: Dispatching) -> None:
    stage.provider.respond["conflicting"] = always(409, {"message": "busy"})
    began = time.time()
    await stage.decide("conflicting", ["call"], await stage.order("conflicting"))
    await stage.all_are("conflicting", ["call"], State.UNKNOWN)
    await until(lambda: not stage.shard("conflicting").ledger.dirty)
    step, at = stage.next_send_at("conflicting", "call")
    assert (step, stage.known("conflicting", "call").sends) == ("look", 1)
    assert at - began >= 15


async def test_retry_after_with_a_date_is_honoured(stage: Dispatching) -> None:
    async def later(_: Seen) -> web.Response:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2.5), usegmt=True)
        return web.json_response({"message": "later"}, status=429, headers={"Retry-After": date})

    stage.provider.respond["until-a-date"] = later
    await stage.decide("until-a-date", ["call"], await stage.order("until-a-date"))
    await until(lambda: len(stage.provider.stops("until-a-date")) == 1)
    stage.provider.respond.pop("until-a-date")
    await stage.all_are("until-a-date", ["call"], State.ACCEPTED)
    first, second = stage.provider.stops("until-a-date")
    assert second.at - first.at >= 1.0


async def test_ids_that_the_provider_cannot_read_fail_each_alone(stage: Dispatching) -> None:
    stage.provider.respond["unreadable-ids"] = always(422, {"message": "not an id"})
    calls = ids("unreadable", 4)
    await stage.decide("unreadable-ids", calls, await stage.order("unreadable-ids"))
    await stage.all_are("unreadable-ids", calls, State.FAILED)
    assert [len(seen.call_ids) for seen in stage.provider.stops("unreadable-ids")] == [4, 2, 2, 1, 1, 1, 1]


async def test_wrong_address_holds_the_account_and_closes_nothing_as_not_found(stage: Dispatching) -> None:
    stage.provider.respond["misdirected"] = always(404, {"message": "no such page"})
    calls = ids("misdirected", 100)
    await stage.decide("misdirected", calls, await stage.order("misdirected"))
    await until(lambda: AnswerClass.CONFIGURATION in answers_of(stage, "misdirected"))
    health = stage.role.health("misdirected")
    assert health is not None
    assert health.health.held == "configuration: nothing is found at its address: no such page"
    assert stage.states("misdirected", calls) <= {State.WAITING, State.REQUESTED}


async def test_each_attempt_is_looked_at_once_and_the_third_is_the_last(stage: Dispatching) -> None:
    await stage.decide("looked-at", ["call"], await stage.order("looked-at"))
    await stage.all_are("looked-at", ["call"], State.UNCONFIRMED)
    assert [seen.method for seen in stage.provider.seen["looked-at"]] == ["PATCH", "GET"] * 3


async def test_looks_that_are_refused_hold_up_no_stop_and_are_tried_once_a_minute_and_told(
    stage: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "EVERY_SECONDS", 0.05)
    stage.provider.respond_to_looks["unreadable"] = always(403, {"message": "not for this key"})
    await stage.decide("unreadable", ["first"], await stage.order("unreadable"))
    await until(lambda: "unreadable-look/unreadable" in stage.feed.controls.alerts)
    alert = stage.feed.controls.alerts["unreadable-look/unreadable"]
    assert alert.text.endswith("one request a minute tries again: permission: not for this key")
    calls = ids("further", 250)
    await stage.decide("unreadable", calls, await stage.order("unreadable"))
    await stage.all_are("unreadable", calls, State.ACCEPTED)
    assert [len(seen.call_ids) for seen in stage.provider.stops("unreadable")] == [1, 100, 100, 50]
    assert len(stage.provider.seen["unreadable"]) == 5
    assert "account-held/unreadable" not in stage.feed.controls.alerts


async def test_account_with_thousands_waiting_does_not_delay_anothers_ten(stage: Dispatching) -> None:
    of = stage.log.topics.partition_of_account
    beside = next(name for name in (f"beside-{n}" for n in range(4)) if of(name) == of("crowd"))
    await stage.decide("crowd", ids("crowd", 5_000), await stage.order("crowd"))
    await until(lambda: len(stage.provider.stops("crowd")) >= 1)
    ten = ids("beside", 10)
    await stage.decide(beside, ten, await stage.order(beside))
    await stage.all_are(beside, ten, State.ACCEPTED)
    health = stage.role.health("crowd")
    assert health is not None
    assert health.backlog > 0


async def test_lever_is_pulled_when_what_rules_stop_is_never_confirmed_and_a_person_releases_it(
    stage: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "EVERY_SECONDS", 0.05)
    unknown = ids("unknown", 24)

    async def refuses_them(seen: Seen) -> web.Response:
        bad = not set(unknown).isdisjoint(seen.call_ids)
        return web.json_response({"message": "no id of ours"} if bad else OK, status=422 if bad else 200)

    stage.provider.respond["doubtful"] = refuses_them
    by_rule = await stage.order("doubtful", by=RULE)
    await stage.fact(by_rule, FactKind.ADMITTED)
    await stage.decide("doubtful", unknown, by_rule)
    await until(lambda: stage.feed.controls.lever_engaged)
    lever = stage.feed.controls.lever
    assert lever is not None
    assert lever.reason.startswith("doubtful: of the last ")
    await stage.decide("doubtful", ["by-rule"], by_rule)
    await stage.decide("doubtful", ["by-operator"], await stage.order("doubtful"), lane=EMERGENCY)
    await stage.all_are("doubtful", ["by-operator"], State.ACCEPTED)
    assert stage.states("doubtful", ["by-rule"]) == {State.WAITING}
    release = Lever(False, "the ids are right again", Author("operator", "ops"))
    await stage.log.producer.publish(control_record(stage.feed.topic, release))
    await stage.all_are("doubtful", ["by-rule"], State.ACCEPTED)
    assert not stage.feed.controls.lever_engaged
