"""What can be looked at over HTTP: calls, terminations, accounts."""

from aiohttp import web

from consumer.console import shown
from consumer.console.cursors import decode, encode, page_size
from consumer.console.find_call import CallElsewhereError
from consumer.console.problems import ProblemError, json_response
from consumer.console.state import ConsoleState
from consumer.model.terminations import State


class ReadApi:
    """Handlers of the operator API that change nothing."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state

    async def call(self, request: web.Request) -> web.Response:
        """GET: one call, the history of its events, and its terminations with decision and outcome."""
        self._state.operators.require(request, "viewer")
        account, call_id = request.match_info["account"], request.match_info["call_id"]
        try:
            call = await self._state.calls.find(account, call_id)
        except CallElsewhereError as error:
            raise ProblemError(503, "held elsewhere", str(error)) from error
        terminations = self._state.ledger.ledger.of_call(account, call_id)
        if call is None and not terminations:
            raise ProblemError(404, "no such call", f"no event of account {account} has told of this call")
        history = await self._state.calls.history(account, call_id, call) if call else []
        orders = {order_id for t in terminations for order_id in t.orders}
        return json_response(
            {
                **(call.shown if call else {"account": account, "call_id": call_id}),
                "history": [shown.event(event) for event in history],
                "terminations": [shown.termination(t) for t in terminations],
                "orders": [self._order(order_id) for order_id in sorted(orders)],
            }
        )

    async def terminations(self, request: web.Request) -> web.Response:
        """GET: list terminations, newest first, by ``order_id``, ``account`` and ``outcome``."""
        self._state.operators.require(request, "viewer")
        outcome = request.query.get("outcome")
        if outcome is not None and outcome not in set(State):
            raise ProblemError(422, "cannot be read", f"outcome: one of {', '.join(State)}", field="outcome")
        filters = {name: request.query[name] for name in ("order_id", "account", "outcome") if name in request.query}
        limit = page_size(request)
        found = self._state.ledger.ledger.page(filters, before=decode(request.query.get("cursor")), limit=limit + 1)
        items = list(found[:limit])
        cursor = encode((items[-1].decided_at, items[-1].termination_id)) if len(found) > limit else None
        return json_response({"items": [shown.termination(t) for t in items], "next_cursor": cursor})

    async def accounts(self, request: web.Request) -> web.Response:
        """GET: the accounts: what their provider can do, and how sending goes."""
        self._state.operators.require(request, "viewer")
        await self._state.figures.refresh()
        items = [
            shown.account(
                account,
                self._state.providers[account.provider].capabilities,
                self._state.figures.account(account.name),
            )
            for account in self._state.accounts.values()
        ]
        return json_response({"items": items, "next_cursor": None})

    def _order(self, order_id: str) -> dict[str, object]:
        record = self._state.feed.book.get(order_id)
        if record is None:
            return {"order_id": order_id}
        o = record.order
        return {
            "order_id": order_id,
            "who": o.by.name,
            "by": o.by.kind,
            "reason": o.reason,
            "scope": shown.scope_in_words(o.scope),
            "created_at": shown.iso(o.at),
        }
