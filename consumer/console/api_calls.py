"""One call over HTTP: what happened to it and why, and why what was aimed at it did not stop it."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from consumer.console import shown
from consumer.console.call_life import Life, Wait, life_of
from consumer.console.find_call import CallElsewhereError, KnownCall
from consumer.console.problems import ProblemError, json_response
from consumer.console.reask import reask
from consumer.console.state import ConsoleState
from consumer.console.why_not import About, why
from consumer.model.calls import Call
from consumer.model.events import CallEvent, Position
from consumer.model.orders import OrderRecord
from consumer.model.scopes import call_keys
from consumer.model.terminations import Termination

Json = dict[str, Any]

MOST_EVIDENCE = 50
"""Events that are read from Kafka to explain the orders of one call."""


class CallApi:
    """Handlers of ``/calls/{account}/{call_id}``."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state

    async def call(self, request: web.Request) -> web.Response:
        """GET: one call, the history of its events, its terminations, and the orders that wanted them, explained."""
        call, terminations, history = await self._known(request)
        wanted = sorted({order_id for t in terminations for order_id in t.orders})
        records = [(order_id, self._state.feed.book.get(order_id)) for order_id in wanted]
        evidence = await self._evidence([record for _, record in records if record is not None], history)
        now = time.time()
        return json_response(
            {
                **self._as_told(request, call),
                "history": [shown.event(event) for event in history],
                "terminations": [shown.termination(t) for t in terminations],
                "orders": [
                    {"order_id": order_id} if record is None else shown.order_explained(record, evidence, now)
                    for order_id, record in records
                ],
                "incomplete": self._state.ledger.incomplete,
            }
        )

    async def why(self, request: web.Request) -> web.Response:
        """GET: of every order aimed at the call why it did or did not stop it, of every rule what it says of the events."""
        call, terminations, history = await self._known(request)
        life = life_of(history)
        about = _about(self._as_told(request, call), life, terminations)
        controls, protected, now = self._state.feed.controls, self._state.protected(), time.time()
        orders = [
            {**shown.order_named(record, now), **why(record, about, protected, controls, now)._asdict()}
            for record in self._state.feed.book.with_scope_keys(about.call.account, call_keys(about.call))
        ]
        return json_response(
            {
                **self._as_told(request, call),
                "stopped": any(order["stopped"] for order in orders),
                "orders": orders,
                "rules": reask(self._state.rules(), life.steps, controls),
                "events": len(history),
                "whole_history": _is_whole(call, history),
                "incomplete": self._state.ledger.incomplete,
            }
        )

    async def _known(self, request: web.Request) -> tuple[KnownCall | None, Sequence[Termination], list[CallEvent]]:
        """Look the call up with its events.

        Raises:
            ProblemError: 404 nobody knows of it; 503 nobody who can be asked knows now.

        """
        self._state.operators.require(request, "viewer")
        account, call_id = request.match_info["account"], request.match_info["call_id"]
        try:
            call = await self._state.calls.find(account, call_id)
        except CallElsewhereError as error:
            raise ProblemError(503, "held elsewhere", str(error)) from error
        terminations = self._state.ledger.ledger.of_call(account, call_id)
        if call is None and not terminations:
            if account not in self._state.accounts:
                known = ", ".join(sorted(self._state.accounts)) or "none"
                raise ProblemError(404, "no such account", f"the configured accounts are: {known}")
            raise ProblemError(404, "no such call", f"no event of account {account} has told of this call")
        history = await self._state.calls.history(account, call_id, call) if call else []
        return call, terminations, history

    @staticmethod
    def _as_told(request: web.Request, call: KnownCall | None) -> Json:
        return dict(call.shown if call else {name: request.match_info[name] for name in ("account", "call_id")})

    async def _evidence(
        self, records: Iterable[OrderRecord], history: Sequence[CallEvent]
    ) -> dict[Position, CallEvent]:
        """Read the events that orders name, but for those that are at hand."""
        known = {event.position: event for event in history if event.position is not None}
        named = dict.fromkeys(position for record in records for position in record.order.evidence)
        missing = [position for position in named if position not in known][:MOST_EVIDENCE]
        return known | await self._state.calls.events_at(missing)


def _about(told: Json, life: Life, terminations: Sequence[Termination]) -> About:
    """Put together what is known of the call; what has left the log is taken from what its owner knows."""
    last = life.last or Call(told["account"], told["call_id"], "")
    call = Call(
        told["account"],
        told["call_id"],
        told.get("provider") or last.provider,
        campaign_id=told.get("campaign_id") or last.campaign_id,
        agent_id=told.get("agent_id") or last.agent_id,
        number=told.get("number") or last.number,
    )
    waits = life.waits
    if not waits and told.get("terminable"):
        waits = [Wait(told.get("episode") or 0, 0.0)]
    return About(call, waits, terminations)


def _is_whole(call: KnownCall | None, history: Sequence[CallEvent]) -> bool:
    """Whether the log still has the first event of the call."""
    if call is None or not history:
        return False
    return shown.iso(history[0].logged_at) == call.shown.get("first_at")
