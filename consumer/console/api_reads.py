"""What can be looked at over HTTP: terminations, accounts."""

from aiohttp import web

from consumer.console import shown
from consumer.console.cursors import decode, encode, known_query, page_size
from consumer.console.problems import ProblemError, json_response
from consumer.console.state import ConsoleState
from consumer.model.terminations import State

FILTERS = ("order_id", "account", "outcome")


class ReadApi:
    """Handlers of the operator API that change nothing."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state

    async def terminations(self, request: web.Request) -> web.Response:
        """GET: list terminations, newest first, by ``order_id``, ``account`` and ``outcome``."""
        self._state.operators.require(request, "viewer")
        known_query(request, *FILTERS)
        outcome = request.query.get("outcome")
        if outcome is not None and outcome not in set(State):
            raise ProblemError(422, "cannot be read", f"outcome: one of {', '.join(State)}", field="outcome")
        filters = {name: request.query[name] for name in FILTERS if name in request.query}
        limit = page_size(request)
        found = self._state.ledger.ledger.page(filters, before=decode(request.query.get("cursor")), limit=limit + 1)
        items = list(found[:limit])
        cursor = encode((items[-1].decided_at, items[-1].termination_id)) if len(found) > limit else None
        told = [shown.termination(t) for t in items]
        return json_response({"items": told, "next_cursor": cursor, "incomplete": self._state.ledger.incomplete})

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
