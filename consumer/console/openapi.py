"""The OpenAPI 3.1 description of the operator API, made from the models that read its requests."""

from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from consumer.console.requests import LeverRequest, ReasonRequest, RuleModeRequest, StopOrderRequest
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
        "/calls/{account}/{call_id}/why",
        "whyCall",
        "Why what is aimed at a call did or did not stop it",
        (),
        None,
    ),
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
    ("get", "/safety-lever", "getSafetyLever", "Whether what rules want is held back, by whom and why", (), None),
    ("put", "/safety-lever", "setSafetyLever", "Engage or release the safety lever", (), "LeverRequest"),
    ("get", "/rules", "listRules", "The rules in force with their modes", (), None),
    ("put", "/rules/{rule}/mode", "setRuleMode", "Set a rule's mode at run time", (), "RuleModeRequest"),
    ("get", "/alerts", "listAlerts", "What is loud now", (), None),
    ("get", "/stream", "stream", "Server-sent events: `hello`, then a `snapshot` whenever something changed", (), None),
    ("get", "/openapi.json", "openapi", "This document", (), None),
)
_OBJECT: dict[str, Any] = {"type": "object"}
_CONTENT = {"stream": "text/event-stream"}
_SCHEMAS: dict[str, dict[str, Any]] = {"stream": {"type": "string"}}
_ELSEWHERE = "the process that holds the call does not answer now, or its partition is moving; the detail says which"
_RETRY_AFTER: dict[str, Any] = {"Retry-After": {"description": "in seconds", "schema": {"type": "integer"}}}
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
                **_models(),
                "Problem": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "field": {"type": "string", "description": "What in the request is wrong, if it is one thing."},
                    },
                    "required": ["type", "title", "status", "detail"],
                },
            },
        },
        "security": [{"token": []}],
    }


def _models() -> dict[str, Any]:
    """The schemas of the requests, those they refer to beside them: in a component there is no ``#/$defs``."""
    bodies = (StopOrderRequest, ReasonRequest, LeverRequest, RuleModeRequest)
    _, definitions = models_json_schema(
        [(model, "validation") for model in bodies], ref_template="#/components/schemas/{model}"
    )
    return dict(definitions["$defs"])


def _operation(path: str, operation_id: str, summary: str, query: tuple[str, ...], body: str | None) -> dict[str, Any]:
    in_path = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in in_path]
    parameters += [{"name": n, "in": "query", "required": False, "schema": _schema(n)} for n in query]
    if operation_id == "createStopOrder":
        key = {
            "type": "string",
            "maxLength": 200,
            "description": "The same key again gives the same order, not another.",
        }
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": key})
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation: dict[str, Any] = {
        "operationId": operation_id,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "202" if operation_id == "createStopOrder" else "200": {
                "description": "done",
                "content": {
                    _CONTENT.get(operation_id, "application/json"): {"schema": _SCHEMAS.get(operation_id, _OBJECT)}
                },
            },
            "default": {"description": "what is wrong", "content": problem},
        },
    }
    if operation_id in {"getCall", "whyCall"}:
        operation["responses"]["503"] = {"description": _ELSEWHERE, "headers": _RETRY_AFTER, "content": problem}
    if operation_id == "openapi":
        operation["security"] = []
    if body:
        schema = {"$ref": f"#/components/schemas/{body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _schema(name: str) -> dict[str, Any]:
    if name == "limit":
        return {"type": "integer", "minimum": 1, "maximum": 500}
    return {"type": "string", "enum": _ENUMS[name]} if name in _ENUMS else {"type": "string"}
