"""How accounts, orders, calls and terminations look in the API: plain values with full words, times as ISO 8601 in UTC."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.model.accounts import Account
from consumer.model.calls import Call
from consumer.model.durations import format_hold
from consumer.model.events import CallEvent, Position
from consumer.model.identity import mask_number
from consumer.model.orders import Mode, OrderRecord
from consumer.model.provider import Capabilities
from consumer.model.scopes import Scope
from consumer.model.terminations import Termination


def iso(seconds: float | None) -> str | None:
    """Write a time; None stays None, and so does a time that never was."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def account(a: Account, can: Capabilities, status: Mapping[str, Any]) -> dict[str, Any]:
    """Show an account: what its provider can do, and how sending goes as far as this process knows."""
    return {
        "account": a.name,
        "provider": a.provider,
        "capabilities": can.as_dict(),
        "rate": {"requests_per_second": a.rate_limit.requests_per_second, "burst": a.rate_limit.burst},
        **status,
        "last_webhook_at": iso(status["last_webhook_at"]),
        "last_success_at": iso(status["last_success_at"]),
    }


def order_row(record: OrderRecord, counts: Mapping[str, int], now: float) -> dict[str, Any]:
    """Show an order in a list: in a few words, however many calls or numbers it names."""
    o = record.order
    return {
        "order_id": o.order_id,
        "account": o.account,
        "state": record.state(now),
        "scope_in_words": scope_in_words(o.scope),
        "reason": o.reason,
        "who": o.by.name if o.by.is_operator else None,
        "rule": None if o.by.is_operator else {"name": o.by.name, "version": o.by.version, "hash": o.by.hash},
        "reach": o.reach,
        "hold": format_hold(o.hold),
        "mode": o.mode,
        "canary_share": o.canary_share if o.mode is Mode.CANARY else None,
        "allow_live": o.allow_live,
        "created_at": iso(o.at),
        "in_force_since": iso(record.since),
        "expires_at": iso(record.until),
        "changes": _changes(record),
        "counts": dict(counts),
    }


def _changes(record: OrderRecord) -> list[dict[str, Any]]:
    return [
        {"what": fact.kind, "who": fact.by.name, "reason": fact.reason, "at": iso(fact.at), "details": fact.details}
        for fact in sorted(record.facts, key=lambda fact: fact.at)
    ]


def order(record: OrderRecord, counts: Mapping[str, int], now: float) -> dict[str, Any]:
    """Show an order with where it stands and what came of it."""
    return {
        **order_row(record, counts, now),
        "scope": record.order.scope.as_dict(),
        "evidence": [position(p) for p in record.order.evidence],
        "explanation": record.order.explanation,
    }


def order_named(record: OrderRecord, now: float) -> dict[str, Any]:
    """Show who gave an order, to what, why and in which mode, and where it stands."""
    o = record.order
    return {
        "order_id": o.order_id,
        "who": o.by.name,
        "by": o.by.kind,
        "rule": None if o.by.is_operator else {"name": o.by.name, "version": o.by.version, "hash": o.by.hash},
        "reason": o.reason,
        "scope": scope_in_words(o.scope),
        "mode": o.mode,
        "hold": format_hold(o.hold),
        "state": record.state(now),
        "created_at": iso(o.at),
        "in_force_since": iso(record.since),
        "expires_at": iso(record.until),
    }


def order_explained(record: OrderRecord, events: Mapping[Position, CallEvent], now: float) -> dict[str, Any]:
    """Show an order with all that led to it: what its rule saw, the events, the limits consulted and who let it through."""
    return {
        **order_named(record, now),
        "explanation": record.order.explanation,
        "evidence": evidence(record, events),
        "changes": _changes(record),
    }


def evidence(record: OrderRecord, events: Mapping[Position, CallEvent]) -> list[dict[str, Any]]:
    """Show the events, of whatever call, that an order is founded on: where each is, and what it says if it is known."""
    return [{**position(p), "event": _evidence(events[p]) if p in events else None} for p in record.order.evidence]


def _evidence(e: CallEvent) -> dict[str, Any]:
    return {
        "call_id": e.call_id,
        "type": e.type,
        "status": e.status,
        "attempt": e.attempt,
        "logged_at": iso(e.logged_at),
    }


def position(p: Position) -> dict[str, Any]:
    return {"topic": p.topic, "partition": p.partition, "offset": p.offset}


def scope_in_words(scope: Scope) -> str:
    """Name a scope in a few words, without a full phone number."""
    if scope.call_ids:
        return f"{len(scope.call_ids)} calls" if len(scope.call_ids) > 1 else f"call {scope.call_ids[0]}"
    if scope.mobile_numbers:
        several = len(scope.mobile_numbers) > 1
        numbers = (
            f"{len(scope.mobile_numbers)} numbers" if several else f"number {mask_number(scope.mobile_numbers[0])}"
        )
        return f"{numbers} in campaign {scope.campaign_id}" if scope.campaign_id else numbers
    return f"campaign {scope.campaign_id}" if scope.campaign_id else f"agent {scope.agent_id}"


def call(c: Call) -> dict[str, Any]:
    """Show what is known of a call."""
    return {
        "account": c.account,
        "provider": c.provider,
        "call_id": c.call_id,
        "status": c.status,
        "attempt": c.attempt,
        "attempts_finished": c.attempts_finished,
        "episode": c.episode,
        "terminable": c.terminable,
        "connected": c.connected,
        "campaign_id": c.campaign_id,
        "agent_id": c.agent_id,
        "number": c.number,
        "from_number": c.from_number,
        "first_at": iso(c.first_at),
        "last_at": iso(c.last_at),
        "seconds": c.seconds,
        "cost": c.cost,
    }


def event(e: CallEvent) -> dict[str, Any]:
    """Show one event of a call's history."""
    return {
        "event_id": e.event_id,
        "type": e.type,
        "status": e.status,
        "attempt": e.attempt,
        "at": iso(e.at),
        "logged_at": iso(e.logged_at),
        "source": e.source,
        "analysis": dict(e.analysis),
        "evidence": position(e.position) if e.position else None,
    }


def termination(t: Termination) -> dict[str, Any]:
    """Show a termination: the decision, every request, and how it ended."""
    return {
        "termination_id": t.termination_id,
        "account": t.account,
        "call_id": t.call_id,
        "scope": scope_in_words(t.scope) if t.scope else None,
        "episode": t.episode,
        "outcome": t.state,
        "orders": list(t.orders),
        "mode": t.mode,
        "campaign_id": t.campaign_id,
        "agent_id": t.agent_id,
        "number": t.number,
        "decided_at": iso(t.decided_at),
        "status_when_decided": t.decided_status,
        "evidence": [position(p) for p in t.evidence],
        "looks": [{"at": iso(look.at), "waiting": look.waiting, "detail": look.detail} for look in t.looks],
        "requests": [_request(t, attempt.request_id) for attempt in t.attempts],
        "ended": {
            "status": t.ended.status,
            "at": iso(t.ended.at),
            "source": t.ended.source,
            "evidence": position(t.ended.evidence) if t.ended.evidence else None,
        }
        if t.ended
        else None,
        "detail": t.final.detail if t.final else "",
        "missed_by_seconds": t.missed_by_seconds,
    }


def _request(t: Termination, request_id: str) -> dict[str, Any]:
    attempt = next(a for a in t.attempts if a.request_id == request_id)
    result = next((r for r in t.results if r.request_id == request_id), None)
    return {
        "request_id": request_id,
        "n": attempt.n,
        "at": iso(attempt.at),
        "calls_in_request": attempt.size,
        "answer": result.answer if result else None,
        "http_status": result.http_status if result else None,
        "detail": result.detail if result else "",
        "reported": result.reported if result else None,
        "trace_id": result.trace_id if result else None,
        "more": dict(result.more) if result and result.more else None,
        "answered_at": iso(result.at) if result else None,
    }
