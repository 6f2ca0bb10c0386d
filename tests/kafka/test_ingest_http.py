import asyncio
import logging
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from unittest.mock import ANY

import orjson
import pytest
import pytest_asyncio

from consumer.ingest import desk, server
from consumer.model.identity import call_key
from consumer.model.status import EventType, Status
from tests.kafka.helpers import SECRET, Breakable, installed, until
from tests.kafka.ingest_stage import MAX_BODY, NUMBER, Ingest, completed, serving
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ingest(kafka_servers: str) -> AsyncIterator[Ingest]:
    async with installed(kafka_servers, "ingest.", call_events=3, rejected=2) as log, serving(log) as running:
        yield running


async def test_200_means_the_event_is_in_kafka_with_key_partition_headers_and_its_whole_body(ingest: Ingest) -> None:
    body = b'  {"event_type": "call_started",  "call_id": "whole", "to_number": "+91 88828 76897", "x": [1.50, "\\u00e9"]}\n'
    answer = await ingest.send(body, traceparent=TRACEPARENT)
    assert answer.status == 200
    record, event = await ingest.event("whole")
    assert answer.body == {"event_id": event.event_id}
    assert record.partition == ingest.log.topics.partition_of_call("acme", "whole")
    assert dict(record.headers) == {"v": b"1", "traceparent": TRACEPARENT.encode()}
    assert body.strip() in record.value
    assert record.timestamp_type == 1  # LogAppendTime
    assert (event.type, event.status, event.number) == (EventType.STARTED, Status.ONGOING, NUMBER)
    assert ingest.webhooks.last_webhook_at["acme"] == pytest.approx(time.time(), abs=PATIENCE_SECONDS)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_every_method_and_content_type_is_taken_and_a_trace_begins(ingest: Ingest, method: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        call_id = f"{method}-{content_type}"
        answer = await ingest.send(completed(call_id), method=method, Content_Type=content_type, traceparent="bad")
        assert answer.status == 200
        record, _ = await ingest.event(call_id)
        version, trace, parent, flags = dict(record.headers)["traceparent"].decode().split("-")
        assert (version, len(trace), len(parent), flags) == ("00", 32, 16, "01")


async def test_other_methods_are_refused(ingest: Ingest) -> None:
    async with ingest.http.get(f"http://127.0.0.1:{ingest.port}/webhooks/acme") as response:
        assert response.status == 405


async def test_duplicate_is_answered_like_the_first(ingest: Ingest) -> None:
    first, second = [await ingest.send(completed("twice")) for _ in range(2)]
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body
    ids = [await ingest.send(completed("twice"), webhook_id=one) for one in ("evt-1", "evt-1", "evt-2")]
    assert [answer.body["event_id"] for answer in ids] == ["evt-1", "evt-1", "evt-2"]


@pytest.mark.parametrize(
    ("body", "kept_as"),
    [
        (b'{"call_id": "not-json-1"', b'\\"not-json-1\\"'),
        (b"call_id=not-json-2", b"call_id=not-json-2"),
        (b"\xff\xfe", b'"body_base64":"//4="'),
        (b"", b'"body":""'),
        (b"\x1f\x8b\x08\x00", b'"body_base64":"H4sIAA=="'),
    ],
)
async def test_not_json_is_400_and_kept(ingest: Ingest, body: bytes, kept_as: bytes) -> None:
    answer = await ingest.send(body)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    (record,) = await ingest.kept(ingest.log.topics.rejected, kept_as)
    assert record.key == b"acme"
    rejected = orjson.loads(record.value)
    assert rejected["event_id"] == answer.body["event_id"]
    assert rejected["account"] == "acme"
    assert rejected["reason"].startswith("not JSON: ")
    assert dict(record.headers)["v"] == b"1"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"hello": "world"}, "neither event_type nor data.call_id"),
        ([1, 2, "not an object"], "not a JSON object"),
        ({"event_type": "call_teleported", "call_id": "x"}, "event_type is 'call_teleported', which is not documented"),
        (completed("undocumented", status="voicemail"), "status is 'voicemail', which is no documented status"),
        (completed("x" * 10_240), "call_id is longer than 256 bytes"),
        (completed(""), "call_id is missing"),
        ({"event_type": "call_started", "call_id": 12345}, "call_id is not a text"),
        (completed("bad-count", retry_count="many"), "retry_count is not a number"),
        (completed("bad-time", called_on="yesterday"), "called_on is not an ISO 8601 time"),
    ],
    ids=["unknown", "list", "type", "status", "long-id", "empty-id", "number-id", "count", "time"],
)
async def test_authentic_body_that_is_no_event_is_200_and_kept_with_the_reason(
    ingest: Ingest, body: object, reason: str
) -> None:
    raw = orjson.dumps(body)
    answer = await ingest.send(raw)
    assert answer.status == 200
    (record,) = await ingest.kept(ingest.log.topics.rejected, answer.body["event_id"].encode())
    rejected = orjson.loads(record.value)
    assert reason in rejected["reason"]
    assert rejected["body"].encode() == raw


async def test_numbers_written_as_texts_are_read(ingest: Ingest) -> None:
    answer = await ingest.send(completed("texts", retry_count="2", call_duration="12.5", call_cost="0.75"))
    assert answer.status == 200
    _, event = await ingest.event("texts")
    assert (event.attempt, event.duration_seconds, event.cost) == (2, 12.5, 0.75)


async def test_wrong_or_missing_secret_is_401_and_nothing_is_kept(ingest: Ingest) -> None:
    topics = (ingest.log.topics.call_events, ingest.log.topics.rejected)
    before = [await ingest.log.ends(topic) for topic in topics]
    for secret in ("wrong", "", SECRET + "x", SECRET[:-1]):
        assert (await ingest.send(completed("forged"), X_Webhook_Secret=secret)).status == 401
        assert (await ingest.send(b"not json", X_Webhook_Secret=secret)).status == 401
    head = b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
    assert b" 401 " in await ingest.raw(head, b"\r\n{}")
    assert b" 401 " in await ingest.raw(head, b"X-Webhook-Secret: \xff\xfe\r\n\r\n{}")
    assert [await ingest.log.ends(topic) for topic in topics] == before


async def test_event_id_that_is_no_text_does_not_lose_the_event(ingest: Ingest) -> None:
    body = orjson.dumps(completed("odd-id"))
    answer = await ingest.raw(
        b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nConnection: close\r\nwebhook-id: \xff\xfe\r\n",
        f"X-Webhook-Secret: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
    )
    assert b" 200 " in answer.splitlines()[0]
    await ingest.event("odd-id")


async def test_unknown_account_is_404(ingest: Ingest) -> None:
    assert (await ingest.send(completed("nobody"), account="nobody")).status == 404


async def test_body_too_large_is_413_whether_or_not_it_says_its_length(ingest: Ingest) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1_024):
            yield b"x" * 1_024

    url = f"http://127.0.0.1:{ingest.port}/webhooks/acme"
    for data in (b"x" * (MAX_BODY + 1), chunks(MAX_BODY + 4_096)):
        async with ingest.http.post(url, data=data, headers={"X-Webhook-Secret": SECRET}) as response:
            assert response.status == 413
    filler = MAX_BODY - len(orjson.dumps(completed("just-fits", args="")))
    assert (await ingest.send(completed("just-fits", args="x" * filler))).status == 200


async def test_webhooks_on_one_connection_are_answered_in_order_with_whole_heads(ingest: Ingest) -> None:
    def request(call_id: str, version: str = "1.1", connection: str = "keep-alive") -> bytes:
        body = orjson.dumps(completed(call_id))
        head = f"POST /webhooks/acme HTTP/{version}\r\nHost: x\r\nConnection: {connection}\r\n"
        return f"{head}X-Webhook-Secret: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def answer() -> tuple[str, dict[str, str]]:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = dict(line.split(": ") for line in lines)
        body = orjson.loads(await reader.readexactly(int(headers["Content-Length"])))
        assert list(body) == ["event_id"]
        assert headers["Content-Type"] == "application/json"
        assert abs(parsedate_to_datetime(headers["Date"]).timestamp() - time.time()) < PATIENCE_SECONDS
        return status, headers

    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    first, second, halved, last = request("one"), request("two"), request("halved"), request("last", connection="close")
    writer.write(first + second + halved[:-20])
    assert [await answer(), await answer()] == 2 * [("HTTP/1.1 200 OK", ANY)]
    writer.write(halved[-20:] + last)
    assert (await answer())[0] == "HTTP/1.1 200 OK"
    assert (await answer())[1]["Connection"] == "close"
    assert await reader.read() == b""
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    for call_id in ("old", "old-too"):
        writer.write(request(call_id, version="1.0"))
        status, headers = await answer()
        assert (status, headers["Connection"]) == ("HTTP/1.0 200 OK", "keep-alive")
    writer.close()
    for call_id in ("one", "two", "halved", "last", "old", "old-too"):
        await ingest.event(call_id)


async def test_sender_that_leaves_without_its_answer_harms_nobody(ingest: Ingest) -> None:
    body = orjson.dumps(completed("left"))
    head = f"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nX-Webhook-Secret: {SECRET}\r\nContent-Length: {len(body)}"
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.transport.abort()
    answers = await asyncio.gather(*[ingest.send(completed(f"stays-{n}")) for n in range(20)])
    assert {answer.status for answer in answers} == {200}
    await until(lambda: ingest.webhooks._in_flight == 0)


async def test_slow_body_is_408(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.2)
    answer = await ingest.raw(
        b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n",
        f"X-Webhook-Secret: {SECRET}\r\n\r\n".encode() + b'{"half": ',
    )
    assert b" 408 " in answer.splitlines()[0]


async def test_secret_and_numbers_stay_out_of_the_logs(ingest: Ingest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    digits = NUMBER.removeprefix("+")
    for body in (
        completed("logged"),
        completed("logged", status=digits),
        completed("logged", retry_count=NUMBER),
        completed("logged", to_number={"number": NUMBER}),
        {"event_type": NUMBER, "call_id": "logged"},
        b'{"to_number": "' + NUMBER.encode(),
    ):
        await ingest.send(body)
        await ingest.send(body, X_Webhook_Secret="another-secret-altogether")
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("consumer"))
    assert "status is '•••6897', which is no documented status" in said
    assert "is kept in rejected" in said
    assert "is refused: header X-Webhook-Secret is wrong" in said
    for secret in (SECRET, "another-secret-altogether", digits):
        assert secret not in said


async def test_kafka_away_is_503_while_it_is_and_the_same_webhook_is_taken_when_it_is_back(
    breakable_kafka: Breakable, topic_prefix: str
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix) as log, serving(log) as ingest:
        with breakable_kafka.paused():
            answers = await asyncio.gather(*[ingest.send(completed(f"away-{n}")) for n in range(20)])
        assert {answer.status for answer in answers} == {503}
        assert all(1 <= int(answer.headers["Retry-After"]) <= 5 for answer in answers)
        answers = await asyncio.gather(*[ingest.send(completed(f"away-{n}")) for n in range(20)])
        for _ in range(10):  # the first moments of a broker that is back may still be too slow for it
            if all(answer.status == 200 for answer in answers):
                break
            answers = await asyncio.gather(*[ingest.send(completed(f"away-{n}")) for n in range(20)])
        assert {answer.status for answer in answers} == {200}
        keys = {record.key for record in await log.read(log.topics.call_events)}
        assert keys == {call_key("acme", f"away-{n}") for n in range(20)}


async def test_too_much_in_flight_is_503_and_draining_too(
    breakable_kafka: Breakable, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_IN_FLIGHT", 3)
    monkeypatch.setattr(desk, "ACK_SECONDS", PATIENCE_SECONDS)
    async with installed(breakable_kafka.servers, topic_prefix) as log, serving(log) as ingest:
        with breakable_kafka.paused():
            waiting = [asyncio.create_task(ingest.send(completed(f"waits-{n}"))) for n in range(3)]
            await until(lambda: log.producer.pending_bytes > 0)
            refused = await ingest.send(completed("refused"))
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) >= 1
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        assert (await ingest.send(completed("again"))).status == 200
        await ingest.webhooks.drain(1)
        refused = await ingest.send(completed("too-late"))
        assert (refused.status, refused.body["detail"]) == (503, "shutting down")
