"""Stop orders over HTTP: give one, look at them, release, approve, reject."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from consumer.console import shown
from consumer.console.cursors import decode, encode, known_query, page_size
from consumer.console.operators import OperatorToken
from consumer.console.problems import ProblemError, json_response
from consumer.console.requests import ReasonRequest, StopOrderRequest, parse
from consumer.console.state import ConsoleState
from consumer.kafka.errors import LogError
from consumer.kafka.order_feed import fact_record, order_record
from consumer.kafka.order_lists import OrderLists
from consumer.kafka.producer import OutRecord
from consumer.model.durations import parse_hold
from consumer.model.events import CallEvent, Position
from consumer.model.identity import digest
from consumer.model.orders import EMERGENCY, Author, Fact, FactKind, Mode, OrderRecord, OrderState, Reach, StopOrder
from consumer.model.rules import DEFAULT_HOLD
from consumer.model.scopes import Scope, ScopeError

WRITE_SECONDS = 5.0
SEEN_SECONDS = 3.0
MAX_KEY = 200
MOST_EVIDENCE = 50


class OrderApi:
    """Handlers under ``/api/v1/stop-orders``."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state
        self._lists = OrderLists(state.feed.book)

    async def create(self, request: web.Request) -> web.Response:
        """POST: give a stop order. An operator's own order is in force at once; nothing holds it up."""
        operator = self._state.operators.require(request, "operator")
        wanted = await parse(request, StopOrderRequest)
        order = self._order(wanted, operator, _idempotency_key(request))
        record = self._state.feed.book.get(order.order_id)
        if record is None:
            await self._write(order_record(self._state.topics.stop_orders, order), order.order_id, None)
            record = self._state.feed.book.get(order.order_id)
        if record and replace(record.order, at=order.at) != order:
            detail = "Idempotency-Key: another order was given with this key; use a new one for each order"
            raise ProblemError(422, "key used before", detail, field="Idempotency-Key")
        state = record.state(time.time()) if record else OrderState.IN_FORCE
        return json_response({"order_id": order.order_id, "state": state}, status=202)

    async def listed(self, request: web.Request) -> web.Response:
        """GET: list orders, newest first, by ``state`` and ``account``."""
        self._state.operators.require(request, "viewer")
        known_query(request, "state", "account")
        now = time.time()
        state, account = request.query.get("state"), request.query.get("account")
        if state is not None and state not in set(OrderState):
            raise ProblemError(422, "cannot be read", f"state: one of {', '.join(OrderState)}", field="state")
        limit, cursor = page_size(request), decode(request.query.get("cursor"))
        wanted = OrderState(state) if state else None
        found: list[tuple[int, OrderRecord]] = []
        place: float | None = cursor[0] if cursor else None
        while True:
            more, place = self._lists.page(
                before=place, account=account, state=wanted, now=now, limit=limit + 1 - len(found)
            )
            found += more
            if place is None or len(found) > limit:
                break
            await asyncio.sleep(0)  # a million opt-outs must not hold up a webhook
        items = found[:limit]
        following = encode((items[-1][0], items[-1][1].order.order_id)) if len(found) > limit else None
        told = [self._shown(record, now) for _, record in items]
        return json_response({"items": told, "next_cursor": following, "incomplete": self._state.ledger.incomplete})

    async def one(self, request: web.Request) -> web.Response:
        """GET: one order with its counts, and the events that it is founded on where they can be read."""
        self._state.operators.require(request, "viewer")
        record = self._record(request)
        events: Mapping[Position, CallEvent] = {}
        with contextlib.suppress(LogError, TimeoutError):
            events = await self._state.calls.events_at(record.order.evidence[:MOST_EVIDENCE])
        evidence = shown.evidence(record, events)
        told = {**self._shown(record, time.time()), "evidence": evidence}
        return json_response({**told, "incomplete": self._state.ledger.incomplete})

    async def release(self, request: web.Request) -> web.Response:
        """POST: end an order. What waits for it is not sent any more."""
        return await self._change(
            request,
            "operator",
            FactKind.RELEASED,
            {OrderState.IN_FORCE, OrderState.PROPOSED, OrderState.AWAITING_APPROVAL},
        )

    async def approve(self, request: web.Request) -> web.Response:
        """POST: let an order through that was above a limit."""
        return await self._change(request, "approver", FactKind.APPROVED, {OrderState.AWAITING_APPROVAL})

    async def reject(self, request: web.Request) -> web.Response:
        """POST: refuse an order that was above a limit."""
        return await self._change(request, "approver", FactKind.REJECTED, {OrderState.AWAITING_APPROVAL})

    async def _change(self, request: web.Request, role: str, kind: FactKind, allowed: set[OrderState]) -> web.Response:
        operator = self._state.operators.require(request, role)
        record = self._record(request)
        reason = (await parse(request, ReasonRequest)).reason
        state = record.state(time.time())
        if state not in allowed:
            raise ProblemError(409, "not in that state", f"the order is {state}; it cannot be {kind} any more")
        fact = Fact(record.order.order_id, kind, Author("operator", operator.name), reason)
        await self._write(fact_record(self._state.topics.stop_orders, fact), record.order.order_id, kind)
        return json_response(self._shown(self._record(request), time.time()))

    def _record(self, request: web.Request) -> OrderRecord:
        record = self._state.feed.book.get(request.match_info["order_id"])
        if record is None:
            raise ProblemError(404, "no such order", "no stop order has this id")
        return record

    def _shown(self, record: OrderRecord, now: float) -> dict[str, object]:
        return shown.order(record, self._state.ledger.ledger.counts(record.order.order_id), now)

    def _order(self, wanted: StopOrderRequest, operator: OperatorToken, idempotency_key: str | None) -> StopOrder:
        account = self._state.accounts.get(wanted.account)
        if account is None:
            known = ", ".join(sorted(self._state.accounts)) or "none"
            raise ProblemError(422, "no such account", f"account: the configured ones are {known}", field="account")
        try:
            scope = Scope.parse(wanted.scope)
            hold = DEFAULT_HOLD[scope.kind] if wanted.hold is None else parse_hold(wanted.hold)
        except ScopeError as error:
            raise ProblemError(422, "cannot be aimed", str(error), field=error.field) from error
        except ValueError as error:
            raise ProblemError(422, "cannot be held", f"hold: {error}", field="hold") from error
        self._check_offered(wanted, scope)
        if idempotency_key:
            order_id = f"op-{digest((operator.name, idempotency_key), 10)}"
        else:
            order_id = f"op-{time.time_ns() // 1_000_000:x}{secrets.token_hex(4)}"
        return StopOrder(
            order_id=order_id,
            account=account.name,
            scope=scope,
            reason=wanted.reason,
            by=Author("operator", operator.name),
            reach=wanted.reach,
            hold=hold,
            mode=wanted.mode,
            canary_share=wanted.canary_share if wanted.mode is Mode.CANARY else 1.0,
            lane=EMERGENCY,
            allow_live=wanted.allow_live,
        )

    def _check_offered(self, wanted: StopOrderRequest, scope: Scope) -> None:
        """Refuse what the provider's API cannot do, before anybody believes that it was done."""
        provider = self._state.providers[self._state.accounts[wanted.account].provider]
        capabilities = provider.capabilities
        if wanted.reach is Reach.EVERYTHING and scope.kind not in capabilities.everything:
            offered = ", ".join(sorted(capabilities.everything)) or "nothing"
            raise ProblemError(
                409,
                "not offered by the provider",
                f"{provider.name} cannot stop a whole {scope.kind} by itself (it can: {offered}); "
                "use reach known, which stops the calls seen in events",
                field="reach",
            )
        if wanted.reach is Reach.KNOWN and not capabilities.by_id:
            raise ProblemError(
                409,
                "not offered by the provider",
                f"{provider.name} cannot stop calls by id; use reach everything",
                field="reach",
            )
        if wanted.reach is Reach.EVERYTHING and not capabilities.everything_spares_live and not wanted.allow_live:
            raise ProblemError(
                409,
                "may cut live calls",
                f"a stop at {provider.name} may hang up on people who are talking; say allow_live: true if that is meant",
                field="allow_live",
            )

    async def _write(self, record: OutRecord, order_id: str, kind: FactKind | None) -> None:
        """Write durably, then wait until this console has read it back, so that the next GET shows it."""
        async with asyncio.timeout(WRITE_SECONDS):
            await self._state.producer.publish(record)
        give_up_at = time.monotonic() + SEEN_SECONDS
        while time.monotonic() < give_up_at:
            known = self._state.feed.book.get(order_id)
            if known and (kind is None or known.fact(kind)):
                return
            await asyncio.sleep(0.005)


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        detail = f"Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters"
        raise ProblemError(400, "cannot be read", detail, field="Idempotency-Key")
    return key
