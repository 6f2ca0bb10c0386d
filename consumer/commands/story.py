"""What happened to a call, told in the order in which it happened. Pure: the API's answer in, lines out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consumer.commands.story_orders import told_of_order
from consumer.model.identity import mask_number

Json = Mapping[str, Any]

_RANKS = ("event", "order", "decided", "request", "answer", "ended")
_ENDINGS = {
    "confirmed": "stopped",
    "missed": "not stopped: the call left the queue before the request could reach it",
    "not_found": "not stopped: the provider does not know the call",
    "expired": "not sent: the order expired first",
    "failed": "not stopped: the provider refused",
    "unconfirmed": "asked for, but nothing has shown that it worked",
    "withdrawn": "not sent: no order wanted it any more",
    "shadow": "not sent: the order only records what it would stop",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened. ``what`` is one of ``_RANKS``; ``detail`` is for the small print."""

    at: datetime
    what: str
    text: str
    detail: str = ""


def headline(call: Json) -> Iterator[tuple[str, str]]:
    """Yield names and values: what is known of the call now."""
    if call.get("status"):
        yield (
            "status",
            f"{call['status']}, attempt {call['attempt'] + 1}" + (" · waiting" if call["terminable"] else ""),
        )
    for name in ("campaign_id", "agent_id"):
        if call.get(name):
            yield name.removesuffix("_id"), str(call[name])
    if call.get("number"):
        yield "number", mask_number(call["number"])
    outcomes = [f"{t['outcome']} (attempt {t['episode'] + 1})" for t in call["terminations"]]
    yield "stopped", ", ".join(outcomes) or "no; nothing was decided about it"


def story(call: Json) -> list[Line]:
    """Tell the history of ``GET /api/v1/calls/…``, oldest first."""
    orders = {order["order_id"]: order for order in call["orders"]}
    lines = [_event(event) for event in call["history"]]
    lines += [Line(*told) for order in call["orders"] for told in told_of_order(order)]
    for termination in call["terminations"]:
        lines += _termination(termination, orders, call["history"])
    return sorted(lines, key=lambda line: (line.at, _RANKS.index(line.what)))


def _event(event: Json) -> Line:
    says = f" → {event['status']}" if event["status"] else ""
    findings = ", ".join(
        f"{name}: {value}" for name, value in event["analysis"].items() if isinstance(value, bool | int)
    )
    text = f"{event['type']}{says}" + (f" ({findings})" if findings else "")
    detail = f"{event['source']} {_place(event['evidence'])}".strip()
    return Line(_time(event["logged_at"]), "event", text, detail)


def _termination(t: Json, orders: Mapping[str, Json], history: Sequence[Json]) -> Iterator[Line]:
    if t["decided_at"]:
        wanted = "; ".join(_order(orders.get(order_id, {"order_id": order_id})) for order_id in t["orders"])
        mode = "" if t["mode"] == "enforce" else f" ({t['mode']})"
        yield Line(_time(t["decided_at"]), "decided", f"stop it while {t['status_when_decided']}{mode}: {wanted}")
    for request in t["requests"]:
        if not request["n"]:
            text = "not asked for again at once: the request for the attempt before may have stopped it"
            yield Line(_time(t["decided_at"] or request["at"]), "request", text, f"request {request['request_id'][:8]}")
            continue
        others = request["calls_in_request"] - 1
        text = f"request {request['n']} to the provider" + (f", with {others} other calls" if others else "")
        yield Line(_time(request["at"]), "request", text, f"request {request['request_id'][:8]}")
        if request["answered_at"]:
            status = f" (HTTP {request['http_status']})" if request["http_status"] else ""
            text = f"{request['answer']}{status}" + (f": {request['detail']}" if request["detail"] else "")
            yield Line(_time(request["answered_at"]), "answer", text)
    if t["outcome"] in _ENDINGS and (at := _ended_at(t, history)):
        yield Line(at, "ended", f"{t['outcome']}: {_ending(t)}", _confirmed_by(t))


def _order(order: Json) -> str:
    if "reason" not in order:
        return f"order {order['order_id']}"
    return f"{order['by']} {order['who']} ordered to stop {order['scope']}, “{order['reason']}” [{order['order_id']}]"


def _ending(t: Json) -> str:
    text = _ENDINGS[t["outcome"]]
    if t["missed_by_seconds"]:
        text += f" (by {t['missed_by_seconds']:.2f} s)"
    if t["ended"]:
        text += f"; the call is {t['ended']['status']}"
    return text


def _confirmed_by(t: Json) -> str:
    if not t["ended"]:
        return str(t["detail"])
    return f"{t['ended']['source']} {_place(t['ended']['evidence'])}".strip()


def _ended_at(t: Json, history: Sequence[Json]) -> datetime | None:
    """When we knew: an event counts from when it was written, whatever the provider's clock says."""
    if t["ended"]:
        evidence = t["ended"]["evidence"]
        known = next((e["logged_at"] for e in history if evidence and e["evidence"] == evidence), t["ended"]["at"])
        return _time(known)
    last = t["requests"][-1] if t["requests"] else None
    moment = (last and (last["answered_at"] or last["at"])) or t["decided_at"]
    return _time(moment) if moment else None


def _place(evidence: Json | None) -> str:
    return f"{evidence['topic']}/{evidence['partition']}@{evidence['offset']}" if evidence else ""


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
