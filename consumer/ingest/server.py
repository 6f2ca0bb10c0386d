"""The webhook endpoint. A 200 is given only after Kafka has acknowledged the event, or the disk (``http.spool``).

Our own trouble is always 503 with Retry-After and never a 4xx, which many senders take as final; only senders of CloudEvents
are told of too much in flight by a 429, as their specification has it.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterable, Mapping
from functools import partial

from aiohttp import web

from consumer.ingest import metrics
from consumer.ingest.answers import acknowledge, no_such_account, problem, unavailable
from consumer.ingest.authenticate import NotAuthentic
from consumer.ingest.cloudevents import CloudEventsIntake
from consumer.ingest.desk import ACK_SECONDS, Desk
from consumer.ingest.intake import Intake, Taken, Takes
from consumer.ingest.signals import SignalIntake
from consumer.ingest.spool import Spool
from consumer.kafka.errors import LogError, RecordTooLarge
from consumer.kafka.producer import Producer
from consumer.kafka.topics import Topics
from consumer.model.accounts import Account
from consumer.model.provider import Provider

logger = logging.getLogger(__name__)

BODY_SECONDS = 10.0
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
        spool: Spool | None = None,
    ) -> None:
        self._intakes = {
            account.name: _INTAKES[account.webhook.format](account, providers[account.provider], topics)
            for account in accounts
        }
        self._signals: Mapping[str, SignalIntake] = {}
        self._desk = Desk(producer, spool)
        self._spool = spool
        self._max_body = max_body_bytes
        self._in_flight = 0
        self._draining = False
        self._drained_by = float("inf")
        self.last_webhook_at: dict[str, float] = {}
        self._tally = metrics.Tally()
        metrics.IN_FLIGHT.set_function(lambda: self._in_flight)

    @property
    def keeps(self) -> bool:
        """Whether webhooks are taken while Kafka is away."""
        return self._spool is not None and self._spool.has_room

    def routes(self) -> list[web.RouteDef]:
        """Give the routes; Ringg can be told to use PUT and PATCH.

        Every account has routes of its own, since the router finds a path that is spelt out much faster than one with a
        parameter; the others tell whoever comes by another path what is wrong.
        """
        path = "/webhooks/{account}"
        spelt_out = [
            web.route(method, f"/webhooks/{name}", partial(self._receive, intake))
            for name, intake in self._intakes.items()
            for method in METHODS
        ]
        return [
            *spelt_out,
            *[web.route(method, path, self._receive_any) for method in METHODS],
            web.options(path, self._handshake),
        ]

    def signal_routes(self) -> list[web.RouteDef]:
        """Give the route of signals, for the process that knows which rules are in force."""
        return [web.post("/signals/{rule}", self._receive_signal)]

    def take_signals(self, intakes: Iterable[SignalIntake]) -> None:
        """Take signals for these rules from here on, and for no others."""
        self._signals = {intake.name: intake for intake in intakes}

    async def drain(self, deadline_seconds: float) -> None:
        """Take nothing new, and wait for what is being taken; the deadline of the first call stands."""
        self._draining = True
        self._drained_by = min(self._drained_by, time.monotonic() + deadline_seconds)
        while self._in_flight and time.monotonic() < self._drained_by:
            await asyncio.sleep(0.02)

    async def _receive_any(self, request: web.Request) -> web.StreamResponse:
        intake = self._intakes.get(request.match_info["account"])
        if intake is None:
            metrics.WEBHOOKS.labels("", 404).inc()
            return no_such_account()
        return await self._receive(intake, request)

    async def _receive_signal(self, request: web.Request) -> web.StreamResponse:
        intake = self._signals.get(f"signals/{request.match_info['rule']}")
        if intake is None:
            metrics.WEBHOOKS.labels("", 404).inc()
            detail = "the last part of the path is a rule of the configuration with `signal`"
            return problem(404, "no such rule", detail)
        return await self._receive(intake, request)

    async def _receive(self, intake: Takes, request: web.Request) -> web.StreamResponse:
        """Take one webhook in and say what became of it."""
        started = time.perf_counter()
        self._in_flight += 1
        try:
            response = self._refusal(intake) or await self._take(intake, request)
        finally:
            self._in_flight -= 1
        self._tally.note(intake.name, response.status, time.perf_counter() - started)
        return response

    async def _handshake(self, request: web.Request) -> web.Response:
        """Answer OPTIONS: where CloudEvents are expected, consent to a sender that asks; elsewhere 405."""
        intake = self._intakes.get(request.match_info["account"])
        if intake is None:
            return no_such_account()
        if not isinstance(intake, CloudEventsIntake):
            response = problem(405, "method not allowed", "webhooks come by POST, PUT or PATCH")
            response.headers["Allow"] = ", ".join(METHODS)
            return response
        return web.Response(headers={"Allow": "POST", **intake.consent(request.headers, MAX_PER_MINUTE)})

    def _refusal(self, intake: Takes) -> web.Response | None:
        """Say why a webhook is not even read, if it is not."""
        if self._draining:
            return unavailable("shutting down")
        if self._in_flight > MAX_IN_FLIGHT:
            return unavailable("too much is in flight", intake.overload_status)
        return None

    async def _take(self, intake: Takes, request: web.Request) -> web.StreamResponse:
        account = intake.name
        try:
            raw = request.content.read_nowait() if request.content.is_eof() else await _rest_of(request, self._max_body)
        except TimeoutError:
            return problem(408, "body not complete", f"the body did not arrive within {BODY_SECONDS:.0f} s")
        except web.HTTPRequestEntityTooLarge:
            return self._too_large()
        if len(raw) > self._max_body:
            return self._too_large()
        try:
            taken = await self._desk.hand_in(intake, request.headers, raw)
        except NotAuthentic as error:
            logger.warning("a webhook for %s from %s is refused: %s", account, request.remote, error)
            return problem(401, "not authentic", str(error))
        except RecordTooLarge as error:
            logger.error("a webhook of %s cannot be kept: %s", account, error)
            return problem(413, "body too large", "Kafka does not take a record of this size")
        except LogError as error:
            logger.warning("a webhook of %s is sent back: %s", account, error)
            return unavailable("the event could not be made durable in time")
        self.last_webhook_at[account] = time.time()
        if taken.reason is not None:
            self._note_rejection(account, taken)
            if taken.refused:
                detail = f"{taken.reason}; it is kept in rejected"
                return problem(taken.refused.status, taken.refused.title, detail, event_id=taken.event_id)
        return acknowledge(request, intake.taken_status, taken.event_id)

    def _note_rejection(self, account: str, taken: Taken) -> None:
        label = taken.refused.title.replace(" ", "_").lower() if taken.refused else "not_understood"
        metrics.REJECTED.labels(account, label).inc()
        # A reason may quote the body, and a body may hold a phone number anywhere.
        logger.warning("a webhook of %s is kept in rejected: %s", account, DIGITS.sub("•••", taken.reason or ""))

    def _too_large(self) -> web.Response:
        return problem(413, "body too large", f"a webhook holds at most {self._max_body} bytes")


async def _rest_of(request: web.Request, max_bytes: int) -> bytes:
    """Wait for a body of which not all has come with its head."""
    if (request.content_length or 0) > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_bytes)
    async with asyncio.timeout(BODY_SECONDS):
        return await request.read()
