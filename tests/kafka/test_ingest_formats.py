"""CloudEvents and Standard Webhooks over HTTP, into real Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest

from consumer.ingest import desk, server
from consumer.ingest.cloudevents import BATCH, JSON, MAX_EVENTS, STRUCTURED
from consumer.ingest.server import WebhookServer
from consumer.model.codec import decode_event
from consumer.model.events import Position
from consumer.simulate.signing import StandardWebhooks, proof
from handlers.providers.table import PROVIDERS
from tests.kafka.helpers import SECRET, Breakable, Installation, an_account, installed, until
from tests.kafka.ingest_stage import listening
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

MAX_BODY = 262_144
ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/dialler", "type": "ai.ringg.call"}
IN_HEADERS = {f"ce-{name}": value for name, value in ATTRIBUTES.items()}
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Stage:
    """The webhook endpoint on loopback: ``cloud`` takes CloudEvents, ``signed`` Standard Webhooks, ``plain`` neither."""

    def __init__(self, log: Installation, http: aiohttp.ClientSession, url: str, webhooks: WebhookServer) -> None:
        self.log = log
        self.webhooks = webhooks
        self._http = http
        self._url = url

    async def ask(self, method: str, account: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        async with self._http.request(method, f"{self._url}/webhooks/{account}", data=body, headers=headers) as answer:
            return Answer(answer.status, await answer.json(content_type=None), dict(answer.headers))

    async def send(self, content_type: str, body: object, account: str = "cloud", **headers: str) -> Answer:
        given = {"X-Webhook-Secret": SECRET, "Content-Type": content_type} | headers
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.ask("POST", account, given, raw)

    async def calls(self) -> list[tuple[str, str]]:
        """Event id and call id of each event there is, in order."""
        records = await self.log.read(self.log.topics.call_events)
        found = [decode_event(r.value, Position(r.topic, r.partition, r.offset), 0.0) for r in records]
        return [(event.event_id, event.call_id) for event in found]

    async def rejected(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in await self.log.read(self.log.topics.rejected)]


@asynccontextmanager
async def stage(servers: str, prefix: str) -> AsyncIterator[Stage]:
    header = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    accounts = [
        an_account("cloud", webhook={"auth": header, "format": "cloudevents"}),
        an_account("signed", webhook={"auth": {"type": "standard-webhooks", "secret": KEY}}),
        an_account("plain"),
    ]
    async with installed(servers, prefix) as log:
        webhooks = WebhookServer(accounts, PROVIDERS, producer=log.producer, topics=log.topics, max_body_bytes=MAX_BODY)
        async with listening(webhooks.routes(), MAX_BODY) as (http, port):
            yield Stage(log, http, f"http://127.0.0.1:{port}", webhooks)


def started(call_id: str) -> dict[str, Any]:
    return {"event_type": "call_started", "call_id": call_id}


def event(call_id: str, **members: object) -> dict[str, Any]:
    return ATTRIBUTES | {"id": call_id, "data": started(call_id)} | members


async def test_every_mode_is_202_once_its_events_are_in_kafka(kafka_servers: str, topic_prefix: str) -> None:
    async with stage(kafka_servers, topic_prefix) as it:
        answers = [
            await it.send(JSON, started("binary"), **IN_HEADERS | {"ce-id": "%62inary"}),
            await it.send(f"{STRUCTURED}; charset=utf-8", event("structured")),
            await it.send(BATCH, [event("first"), event("second"), event("structured")]),
            await it.send(BATCH, []),
        ]
        assert [answer.status for answer in answers] == [202] * 4
        assert all(answer.headers["Content-Type"] == "application/json" for answer in answers)
        calls = await it.calls()
        assert [call for _, call in calls] == ["binary", "structured", "first", "second", "structured"]
        names = [name for name, _ in calls]
        assert [answer.body["event_id"] for answer in answers[:2]] == names[:2]
        assert names[1] == names[4]
        assert len(set(names)) == 4
        assert it.webhooks.last_webhook_at["cloud"] == pytest.approx(time.time(), abs=PATIENCE_SECONDS)
        assert await it.rejected() == []


async def test_the_largest_batch_is_durable_before_the_answer(kafka_servers: str, topic_prefix: str) -> None:
    async with stage(kafka_servers, topic_prefix) as it:
        batch = [event(f"call-{n}") for n in range(MAX_EVENTS)]
        assert (await it.send(BATCH, batch)).status == 202
        assert [call for _, call in await it.calls()] == [f"call-{n}" for n in range(MAX_EVENTS)]


async def test_what_is_wrong_is_told_and_kept_and_holds_up_nothing(kafka_servers: str, topic_prefix: str) -> None:
    async with stage(kafka_servers, topic_prefix) as it:
        answers = [
            await it.send(JSON, started("no-attributes")),
            await it.send(STRUCTURED, event("no-source", source=None)),
            await it.send(STRUCTURED, b"{"),
            await it.send(BATCH, [event("right"), event("wrong", specversion="0.3")]),
            await it.send("text/xml", b"<call/>", **IN_HEADERS),
            await it.send("application/cloudevents+avro", b"\x00", **IN_HEADERS),
            await it.send(STRUCTURED, event("unknown", data={"event_type": "call_paused"})),
        ]
        assert [answer.status for answer in answers] == [400, 400, 400, 400, 415, 415, 202]
        assert {answer.headers["Content-Type"] for answer in answers[:-1]} == {"application/problem+json"}
        assert "specversion is not 1.0" in answers[3].body["detail"]
        assert [call for _, call in await it.calls()] == ["right"]
        kept = {record["event_id"]: record for record in await it.rejected()}
        assert set(kept) == {answer.body["event_id"] for answer in answers}
        wrong = await it.send(STRUCTURED, event("forged"), **{"X-Webhook-Secret": "wrong"})
        assert wrong.status == 401
        assert len(await it.rejected()) == len(answers)


async def test_a_sender_of_cloud_events_is_given_consent_and_others_are_not(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with stage(kafka_servers, topic_prefix) as it:
        asked = {"WebHook-Request-Origin": "dialler.example.com", "WebHook-Request-Rate": "120"}
        callback = {"WebHook-Request-Callback": "http://127.0.0.1:9/never-called"}
        granted = await it.ask("OPTIONS", "cloud", asked | callback)
        assert granted.status == 200
        assert granted.headers["WebHook-Allowed-Origin"] == "dialler.example.com"
        assert granted.headers["WebHook-Allowed-Rate"] == str(server.MAX_PER_MINUTE) == "30000"
        assert granted.headers["Allow"] == "POST"
        withheld = await it.ask("OPTIONS", "cloud", {})
        assert withheld.headers["Allow"] == "POST"
        assert not [name for name in withheld.headers if name.startswith("WebHook-")]
        refused = await it.ask("OPTIONS", "plain", asked)
        assert (refused.status, refused.headers["Allow"]) == (405, "POST, PUT, PATCH")
        assert (await it.ask("OPTIONS", "nobody", asked)).status == 404


async def test_signed_webhooks_are_taken_once_and_for_five_minutes(kafka_servers: str, topic_prefix: str) -> None:
    async with stage(kafka_servers, topic_prefix) as it:
        body = orjson.dumps(started("signed"))
        for sent_at, status in ((0, 200), (-270, 200), (270, 200), (-330, 401), (330, 401)):
            headers = proof(StandardWebhooks(KEY), body, "msg_1", time.time() + sent_at)
            assert (await it.ask("POST", "signed", headers, body)).status == status
            assert (await it.ask("POST", "signed", headers, body + b" ")).status == 401
        assert await it.calls() == [("msg_1", "signed")] * 3


async def test_too_much_in_flight_is_429_for_cloud_events_only_and_kafka_away_is_503(
    breakable_kafka: Breakable, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_IN_FLIGHT", 2)
    monkeypatch.setattr(desk, "ACK_SECONDS", 3.0)
    async with stage(breakable_kafka.servers, topic_prefix) as it:
        with breakable_kafka.paused():
            batch = [event(f"batch-{n}") for n in range(50)]
            waiting = [asyncio.create_task(it.send(BATCH, batch)) for _ in range(2)]
            await until(lambda: it.log.producer.pending_bytes > 0)
            throttled = await it.send(STRUCTURED, event("throttled"))
            plain = await it.send(JSON, started("plain"), account="plain")
            away = await asyncio.gather(*waiting)
        assert (throttled.status, plain.status, {answer.status for answer in away}) == (429, 503, {503})
        assert all(1 <= int(answer.headers["Retry-After"]) <= 5 for answer in (throttled, plain, *away))
        for _ in range(10):  # the first moments of a broker that goes on may still be too slow for it
            if (answer := await it.send(BATCH, batch)).status == 202:
                break
        assert answer.status == 202
        assert {call for _, call in await it.calls()} == {f"batch-{n}" for n in range(50)}
        await it.webhooks.drain(1)
        assert (await it.send(STRUCTURED, event("too-late"))).status == 503
