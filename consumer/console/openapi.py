"""The OpenAPI 3.1 description of the operator API, made from the models that read its requests."""

from importlib.metadata import version
from typing import Any

from consumer.console.requests import ReasonRequest, StopOrderRequest
from consumer.model.orders import OrderState
from consumer.model.terminations import State

_PAGED = ("limit", "cursor")
_OPERATIONS: tuple[tuple[str, str, str, str, tuple[str, ...], str | None], ...] = (
    ("post", "/stop-orders", "createStopOrder", "Give a stop order", (), "StopOrderRequest"),
    ("get", "/stop-orders", "listStopOrders", "List stop orders, newest first", ("state", "account", *_PAGED), None),
    ("get", "/stop-orders/{order_id}", "getStopOrder", "One stop order with its counts", (), None),
    ("post", "/stop-orders/{order_id}/release", "releaseStopOrder", "End a stop order", (), "ReasonRequest"),
    ("post", "/stop-orders/{order_id}/approve", "approveStopOrder", "Let a held order through", (), "ReasonRequest"),
    ("post", "/stop-orders/{order_id}/reject", "rejectStopOrder", "Refuse a held order", (), "ReasonRequest"),
    ("get", "/calls/{account}/{call_id}", "getCall", "One call: status, history, terminations", (), None),
    (
        "get",
        "/terminations",
        "listTerminations",
        "List terminations",
        ("order_id", "account", "outcome", *_PAGED),
        None,
    ),
    ("get", "/rejected", "listRejected", "Bodies and rule failures that were kept, newest first", _PAGED, None),
    ("post", "/rejected/{rejected_id}/replay", "replayRejected", "Read a kept body again", (), None),
    ("get", "/accounts", "listAccounts", "Accounts: capabilities, rate, breaker, backlog", (), None),
)
_ENUMS: dict[str, list[str]] = {"state": list(OrderState), "outcome": list(State)}


def document() -> dict[str, Any]:
    """Describe the API; the paths are those of ``routes``."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation_id, summary, query, body in _OPERATIONS:
        paths.setdefault(f"/api/v1{path}", {})[method] = _operation(path, operation_id, summary, query, body)
    return {
        "openapi": "3.1.0",
        "info": {"title": "callbreaker", "version": version("callbreaker")},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "StopOrderRequest": StopOrderRequest.model_json_schema(),
                "ReasonRequest": ReasonRequest.model_json_schema(),
                "Problem": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                    "required": ["type", "title", "status", "detail"],
                },
            },
        },
        "security": [{"token": []}],
    }


def _operation(path: str, operation_id: str, summary: str, query: tuple[str, ...], body: str | None) -> dict[str, Any]:
    in_path = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in in_path]
    parameters += [{"name": n, "in": "query", "required": False, "schema": _schema(n)} for n in query]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation: dict[str, Any] = {
        "operationId": operation_id,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "202" if operation_id == "createStopOrder" else "200": {
                "description": "done",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "default": {"description": "what is wrong", "content": problem},
        },
    }
    if body:
        schema = {"$ref": f"#/components/schemas/{body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _schema(name: str) -> dict[str, Any]:
    if name == "limit":
        return {"type": "integer", "minimum": 1, "maximum": 500}
    return {"type": "string", "enum": _ENUMS[name]} if name in _ENUMS else {"type": "string"}
