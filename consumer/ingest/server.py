"""The webhook endpoint. A 200 is given only after Kafka has acknowledged the event.

Our own trouble is always 503 with Retry-After and never a 4xx, which many senders take as final; only senders of CloudEvents
are told of too much in flight by a 429, as their specification has it.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence

import orjson
from aiohttp import web
from prometheus_client import Counter

from consumer.ingest import metrics
from consumer.ingest.authenticate import NotAuthentic
from consumer.ingest.cloudevents import CloudEventsIntake
from consumer.ingest.intake import Intake, Taken
from consumer.kafka.errors import LogError, RecordTooLarge
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.provider import Provider

logger = logging.getLogger(__name__)

BODY_SECONDS = 10.0
ACK_SECONDS = 4.0
MAX_IN_FLIGHT = 2_000
MAX_PER_MINUTE = int(MAX_IN_FLIGHT / ACK_SECONDS * 60)
"""What is taken for certain, even if Kafka needed all of its time for each."""

METHODS = ("POST", "PUT", "PATCH")
_INTAKES = {"provider": Intake, "cloudevents": CloudEventsIntake}
DIGITS = re.compile(r"\d{3,}(?=\d{4})")


class WebhookServer:
    """Receives webhooks for all accounts of this process."""

    def __init__(
        self,
        accounts: Iterable[Account],
        providers: Mapping[str, Provider],
        *,
        producer: Producer,
        topics: Topics,
        max_body_bytes: int,
    ) -> None:
        self._intakes = {
            account.name: _INTAKES[account.webhook.format](account, providers[account.provider], topics)
            for account in accounts
        }
        self._producer = producer
        self._max_body = max_body_bytes
        self._in_flight = 0
        self._draining = False
        self.last_webhook_at: dict[str, float] = {}
        self._counters: dict[tuple[str, int], Counter] = {}
        metrics.IN_FLIGHT.set_function(lambda: self._in_flight)

    def routes(self) -> list[web.RouteDef]:
        """Give the routes; Ringg can be told to use PUT and PATCH."""
        path = "/webhooks/{account}"
        return [*[web.route(method, path, self.receive) for method in METHODS], web.options(path, self.handshake)]

    async def drain(self, deadline_seconds: float) -> None:
        """Take nothing new, and wait for what is being taken."""
        self._draining = True
        give_up_at = time.monotonic() + deadline_seconds
        while self._in_flight and time.monotonic() < give_up_at:
            await asyncio.sleep(0.02)

    async def receive(self, request: web.Request) -> web.Response:
        """Take one webhook in and say what became of it."""
        started = time.perf_counter()
        intake = self._intakes.get(request.match_info["account"])
        if intake is None:
            self._count("", 404)
            return _no_such_account()
        self._in_flight += 1
        try:
            response = await self._receive(intake, request)
        finally:
            self._in_flight -= 1
        self._count(intake.account.name, response.status)
        metrics.SECONDS.observe(time.perf_counter() - started)
        return response

    async def handshake(self, request: web.Request) -> web.Response:
        """Answer OPTIONS: where CloudEvents are expected, consent to a sender that asks; elsewhere 405."""
        intake = self._intakes.get(request.match_info["account"])
        if intake is None:
            return _no_such_account()
        if not isinstance(intake, CloudEventsIntake):
            response = _problem(405, "method not allowed", "webhooks come by POST, PUT or PATCH")
            response.headers["Allow"] = ", ".join(METHODS)
            return response
        return web.Response(headers={"Allow": "POST", **intake.consent(request.headers, MAX_PER_MINUTE)})

    def _count(self, account: str, status: int) -> None:
        """Count an answer; finding a labelled counter costs more than counting, so it is kept."""
        counter = self._counters.get((account, status))
        if counter is None:
            counter = self._counters[account, status] = metrics.WEBHOOKS.labels(account, status)
        counter.inc()

    async def _receive(self, intake: Intake, request: web.Request) -> web.Response:
        if self._draining:
            return _unavailable("shutting down")
        if self._in_flight > MAX_IN_FLIGHT:
            return _unavailable("too much is in flight", intake.overload_status)
        if (request.content_length or 0) > self._max_body:
            return _problem(413, "body too large", f"a webhook holds at most {self._max_body} bytes")
        try:
            raw = await _body(request)
        except TimeoutError:
            return _problem(408, "body not complete", f"the body did not arrive within {BODY_SECONDS:.0f} s")
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, "body too large", f"a webhook holds at most {self._max_body} bytes")
        try:
            taken = intake.take(request.headers, raw)
        except NotAuthentic as error:
            logger.warning("a webhook for %s from %s is refused: %s", intake.account.name, request.remote, error)
            return _problem(401, "not authentic", str(error))
        return await self._write(intake, taken)

    async def _write(self, intake: Intake, taken: Taken) -> web.Response:
        account = intake.account.name
        try:
            await self._publish(taken.records)
        except RecordTooLarge as error:
            logger.error("a webhook of %s cannot be kept: %s", account, error)
            return _problem(413, "body too large", "Kafka does not take a record of this size")
        except LogError as error:
            logger.warning("a webhook of %s is sent back: %s", account, error)
            return _unavailable("the event could not be made durable in time")
        self.last_webhook_at[account] = time.time()
        if taken.reason is not None:
            label = taken.refused.title.replace(" ", "_").lower() if taken.refused else "not_understood"
            metrics.REJECTED.labels(account, label).inc()
            # A reason may quote the body, and a body may hold a phone number anywhere.
            logger.warning("a webhook of %s is kept in rejected: %s", account, DIGITS.sub("•••", taken.reason))
            if taken.refused:
                detail = f"{taken.reason}; it is kept in rejected"
                return _problem(taken.refused.status, taken.refused.title, detail, event_id=taken.event_id)
        body = orjson.dumps({"event_id": taken.event_id})
        return web.Response(status=intake.taken_status, body=body, content_type="application/json")

    async def _publish(self, records: Sequence[OutRecord]) -> None:
        """Wait until all are durable; one, as nearly always, needs nothing to gather."""
        if len(records) == 1:
            await self._producer.publish(records[0], within_seconds=ACK_SECONDS)
            return
        waiting: list[asyncio.Future[int]] = []
        try:
            waiting.extend(self._producer.publish(record, within_seconds=ACK_SECONDS) for record in records)
            await asyncio.gather(*waiting)
        finally:
            for future in waiting:
                future.cancel()


async def _body(request: web.Request) -> bytes:
    """Read the body; one that has come with its head, as most do, needs no timer."""
    if request.content.is_eof():
        return await request.read()
    async with asyncio.timeout(BODY_SECONDS):
        return await request.read()


def _problem(status: int, title: str, detail: str, **more: str) -> web.Response:
    body = orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **more})
    return web.Response(status=status, body=body, content_type="application/problem+json")


def _no_such_account() -> web.Response:
    return _problem(404, "no such account", "the last part of the path is an account of the configuration")


def _unavailable(reason: str, status: int = 503) -> web.Response:
    response = _problem(status, "try again", reason)
    response.headers["Retry-After"] = str(random.randint(1, 5))  # noqa: S311 -- jitter, not a secret
    return response
