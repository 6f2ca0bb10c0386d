"""Signals from outside: taken as webhooks are, and what they ask for goes the way of every rule's order."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from consumer.ingest.server import WebhookServer
from consumer.ingest.signals import SignalIntake, Signalled
from consumer.model.accounts import WebhookAuth
from consumer.model.orders import Mode
from consumer.model.rules import configured
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.stops import Aim
from consumer.model.throttles import Matches, Throttle
from handlers.providers.table import PROVIDERS
from handlers.rules.manual import manual
from tests.kafka.helpers import Breakable, Installation, an_account, installed, until
from tests.kafka.ingest_stage import listening
from tests.kafka.joining_stage import ACCOUNT, Joining, joining
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

MAX_BODY = 4_096
SECRET, SIGNED = "a-secret-of-the-qa-tool", "another-secret-of-theirs"
AUTH: TypeAdapter[WebhookAuth] = TypeAdapter(WebhookAuth)
ONE = Throttle(matches=Matches(1, 60.0))
RULES = (
    configured(manual, name="qa", mode=Mode.SHADOW, throttle=ONE),
    configured(manual, name="signed", throttle=ONE, aim=Aim(ScopeKind.NUMBER, 3_600.0)),
)
QA = Signalled("qa", AUTH.validate_python({"type": "header", "name": "X-Signal-Secret", "secret": SECRET}))
SIGNER = Signalled(
    "signed",
    AUTH.validate_python({"type": "hmac-sha256", "header": "X-Signature", "secret": SIGNED}),
    Aim(ScopeKind.NUMBER, 3_600.0),
)
SIGNAL = {"account": ACCOUNT, "scope": {"campaign_id": "heard"}, "reason": "the agent is rude"}


@dataclass
class Signals:
    """The endpoint on loopback."""

    url: str
    http: aiohttp.ClientSession
    webhooks: WebhookServer

    async def send(self, body: object, rule: str = "qa", **headers: str) -> tuple[int, dict[str, Any]]:
        given = {"X-Signal-Secret": SECRET} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.http.post(f"{self.url}/signals/{rule}", data=data, headers=given) as answer:
            return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def serving(log: Installation) -> AsyncIterator[Signals]:
    webhooks = WebhookServer(
        [an_account(ACCOUNT)],
        PROVIDERS,
        producer=log.producer,
        topics=log.topics,
        max_body_bytes=MAX_BODY,
    )
    webhooks.take_signals([SignalIntake(one, [ACCOUNT], log.topics) for one in (QA, SIGNER)])
    async with listening([*webhooks.routes(), *webhooks.signal_routes()], MAX_BODY) as (http, port):
        yield Signals(f"http://127.0.0.1:{port}", http, webhooks)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Signals, Joining]]:
    folder: Path = tmp_path_factory.mktemp("signals")
    async with (
        installed(kafka_servers, "signals.") as log,
        joining(log, folder, asked=RULES) as join,
        serving(log) as signals,
    ):
        yield signals, join


async def test_a_signal_becomes_one_order_of_its_rule_however_often_it_is_sent(stage: tuple[Signals, Joining]) -> None:
    signals, join = stage
    await join.event("heard-1", campaign_id="heard")
    status, body = await signals.send(SIGNAL)
    assert status == 200
    assert [await signals.send(SIGNAL) for _ in range(3)] == [(200, body)] * 3
    (decided,) = await join.decided("heard-1")
    await join.settled()
    await until(lambda: bool(join.orders_of("qa")))
    (order,) = join.orders_of("qa")
    assert (order.scope, order.reason, order.hold) == (Scope.campaign("heard"), "the agent is rude", None)
    assert (order.mode, order.by.name, order.by.version) == (Mode.SHADOW, "qa", "1")
    assert order.explanation is not None
    assert order.explanation["values"] == {"signal": body["event_id"]}
    assert (decided.orders, decided.mode) == ((order.order_id,), Mode.SHADOW)


async def test_a_signed_signal_may_stop_what_its_rule_stops_and_nothing_else(stage: tuple[Signals, Joining]) -> None:
    signals, join = stage
    raw = orjson.dumps({"account": ACCOUNT, "scope": {"mobile_numbers": ["+15550007777"]}, "reason": "wrong person"})
    signature = hmac.digest(SIGNED.encode(), raw, hashlib.sha256).hex()
    assert (await signals.send(raw, "signed", X_Signature=signature))[0] == 200
    await until(lambda: bool(join.orders_of("signed")))
    assert (join.orders_of("signed")[0].hold, join.orders_of("signed")[0].mode) == (3_600.0, Mode.ENFORCE)
    broad = orjson.dumps(SIGNAL)
    signature = hmac.digest(SIGNED.encode(), broad, hashlib.sha256).hex()
    status, body = await signals.send(broad, "signed", X_Signature=signature)
    assert (status, body["detail"]) == (400, "scope: this rule stops number only; it is kept in rejected")


async def test_who_proves_nothing_is_refused_and_nothing_is_kept(stage: tuple[Signals, Joining]) -> None:
    signals, join = stage
    unheard = SIGNAL | {"scope": {"campaign_id": "unproven"}}
    for headers in ({"X_Signal_Secret": "another"}, {"X_Signal_Secret": ""}):
        assert (await signals.send(unheard, **headers))[0] == 401
    assert (await signals.send(unheard, "signed", X_Signature="00"))[0] == 401
    assert (await signals.send(unheard, "other"))[0] == 404
    await join.settled()
    assert not any(b"unproven" in record.value for record in join.tail.of(join.log.topics.rejected))
    assert {order.scope for order in join.orders_of("qa")} <= {Scope.campaign("heard")}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "a signal is an object of exactly"),
        ({}, 400, "a signal is an object of exactly"),
        (SIGNAL | {"hold": "1d"}, 400, "a signal is an object of exactly"),
        (SIGNAL | {"reason": " "}, 400, "reason: must say in words why"),
        (SIGNAL | {"account": "nobody"}, 404, "account: is none of the configuration"),
        (SIGNAL | {"account": ["acme"]}, 404, "account: is none"),
        (SIGNAL | {"scope": {}}, 400, "scope: must name exactly one"),
        (SIGNAL | {"scope": {"campaign": "x"}}, 400, "scope.campaign: is not a scope"),
        (SIGNAL | {"scope": {"mobile_numbers": ["12"]}}, 400, "E.164"),
    ],
)
async def test_what_is_no_signal_is_refused_with_what_is_wrong_and_kept(
    stage: tuple[Signals, Joining], body: Any, status: int, detail: str
) -> None:
    signals, join = stage
    answered, told = await signals.send(body)
    assert (answered, detail in told["detail"]) == (status, True), told
    await until(lambda: any(one.get("event_id") == told["event_id"] for one in join.rejected()))
    (kept, *_) = [one for one in join.rejected() if one.get("event_id") == told["event_id"]]
    assert (kept["source"], kept["rule"]) == ("signal", "qa")


async def test_a_body_that_is_too_large_is_413(stage: tuple[Signals, Joining]) -> None:
    assert (await stage[0].send(SIGNAL | {"reason": "x" * MAX_BODY}))[0] == 413


async def test_kafka_away_is_503_and_the_same_signal_is_taken_when_it_is_back(
    breakable_kafka: Breakable, topic_prefix: str
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix) as log, serving(log) as signals:
        with breakable_kafka.paused():
            status, body = await signals.send(SIGNAL)
            assert (status, body["title"]) == (503, "try again")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await signals.send(SIGNAL))[0] != 200:
                await asyncio.sleep(0.1)
        await signals.webhooks.drain(1)
        assert (await signals.send(SIGNAL))[0] == 503
