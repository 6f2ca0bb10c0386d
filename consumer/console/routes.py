"""Every route of the console, in one table; the OpenAPI document is made from the same one."""

from aiohttp import web

from consumer.console.api_orders import OrderApi
from consumer.console.api_reads import ReadApi
from consumer.console.api_rejected import RejectedApi
from consumer.console.openapi import document
from consumer.console.problems import answering_problems, json_response
from consumer.console.state import ConsoleState

PREFIX = "/api/v1"


def console_routes(state: ConsoleState) -> list[web.RouteDef]:
    """Give the routes of the operator API."""
    orders, reads, rejected = OrderApi(state), ReadApi(state), RejectedApi(state)

    async def openapi(_: web.Request) -> web.Response:
        return json_response(document())

    return [
        web.post(f"{PREFIX}/stop-orders", answering_problems(orders.create)),
        web.get(f"{PREFIX}/stop-orders", answering_problems(orders.listed)),
        web.get(f"{PREFIX}/stop-orders/{{order_id}}", answering_problems(orders.one)),
        web.post(f"{PREFIX}/stop-orders/{{order_id}}/release", answering_problems(orders.release)),
        web.post(f"{PREFIX}/stop-orders/{{order_id}}/approve", answering_problems(orders.approve)),
        web.post(f"{PREFIX}/stop-orders/{{order_id}}/reject", answering_problems(orders.reject)),
        web.get(f"{PREFIX}/calls/{{account}}/{{call_id}}", answering_problems(reads.call)),
        web.get(f"{PREFIX}/terminations", answering_problems(reads.terminations)),
        web.get(f"{PREFIX}/rejected", answering_problems(rejected.listed)),
        web.post(f"{PREFIX}/rejected/{{rejected_id}}/replay", answering_problems(rejected.replay)),
        web.get(f"{PREFIX}/accounts", answering_problems(reads.accounts)),
        web.get(f"{PREFIX}/openapi.json", openapi),
    ]
