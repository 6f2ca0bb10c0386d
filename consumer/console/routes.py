"""Every route of the console, in one table; the OpenAPI document is made from the same one."""

from aiohttp import web

from consumer.console.api_calls import CallApi
from consumer.console.api_controls import ControlApi
from consumer.console.api_orders import OrderApi
from consumer.console.api_reads import ReadApi
from consumer.console.api_rejected import RejectedApi
from consumer.console.openapi import document
from consumer.console.problems import Handler, ProblemError, answering_problems, json_response
from consumer.console.state import ConsoleState
from consumer.console.stream import Live

PREFIX = "/api/v1"


def console_routes(state: ConsoleState, live: Live) -> list[web.RouteDef]:
    """Give the routes of the operator API."""
    orders, reads, rejected, controls = OrderApi(state), ReadApi(state), RejectedApi(state), ControlApi(state)

    calls = CallApi(state)

    async def openapi(_: web.Request) -> web.Response:
        return json_response(document())

    routes = [
        web.post(f"{PREFIX}/stop-orders", answering_problems(orders.create)),
        web.get(f"{PREFIX}/stop-orders", answering_problems(orders.listed)),
        web.get(f"{PREFIX}/stop-orders/{{order_id}}", answering_problems(orders.one)),
        web.post(f"{PREFIX}/stop-orders/{{order_id}}/release", answering_problems(orders.release)),
        web.post(f"{PREFIX}/stop-orders/{{order_id}}/approve", answering_problems(orders.approve)),
        web.post(f"{PREFIX}/stop-orders/{{order_id}}/reject", answering_problems(orders.reject)),
        web.get(f"{PREFIX}/calls/{{account}}/{{call_id:[^/]+}}", answering_problems(calls.call)),
        web.get(f"{PREFIX}/calls/{{account}}/{{call_id:[^/]+}}/why", answering_problems(calls.why)),
        web.get(f"{PREFIX}/terminations", answering_problems(reads.terminations)),
        web.get(f"{PREFIX}/rejected", answering_problems(rejected.listed)),
        web.post(f"{PREFIX}/rejected/{{rejected_id}}/replay", answering_problems(rejected.replay)),
        web.get(f"{PREFIX}/accounts", answering_problems(reads.accounts)),
        web.get(f"{PREFIX}/safety-lever", answering_problems(controls.lever)),
        web.put(f"{PREFIX}/safety-lever", answering_problems(controls.set_lever)),
        web.get(f"{PREFIX}/rules", answering_problems(controls.rules)),
        web.put(f"{PREFIX}/rules/{{rule}}/mode", answering_problems(controls.set_mode)),
        web.get(f"{PREFIX}/alerts", answering_problems(controls.alerts)),
        web.get(f"{PREFIX}/stream", answering_problems(live.stream), allow_head=False),
        web.get(f"{PREFIX}/openapi.json", openapi),
    ]
    return [
        *routes,
        *_other_methods(routes),
        web.route("*", f"{PREFIX}/{{rest:.*}}", answering_problems(_no_such_route)),
    ]


def _other_methods(routes: list[web.RouteDef]) -> list[web.RouteDef]:
    """Answer what a path does not take with problem details as well."""
    allowed: dict[str, set[str]] = {}
    for route in routes:
        allowed.setdefault(route.path, set()).add(route.method)
    return [web.route("*", path, _refusing(", ".join(sorted(methods)))) for path, methods in allowed.items()]


def _refusing(allowed: str) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        response = ProblemError(405, "method not allowed", f"{request.path} takes {allowed}").response()
        response.headers["Allow"] = allowed
        return response

    return refuse


async def _no_such_route(request: web.Request) -> web.StreamResponse:
    raise ProblemError(
        404, "no such route", f"{PREFIX}/openapi.json lists what there is; {request.path} is not among it"
    )
