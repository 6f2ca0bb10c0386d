"""The simulator's own API under `/_simulator/`: verdict, calls, campaigns, orders, faults, reset."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import orjson
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from .api import iso
from .calls import Call, Campaign, Status
from .exchange import Exchange
from .faults import Fault, FaultKind
from .judge import Verdict
from .orders import Told
from .scenario import CampaignPlan

_PLAN, _TOLD, _FAULTS = TypeAdapter(CampaignPlan), TypeAdapter(Told), TypeAdapter(list[Fault])
_Checked = TypeVar("_Checked")


class Simulator(Protocol):
    """What the control API needs of the simulator."""

    @property
    def exchange(self) -> Exchange: ...
    def now(self) -> float: ...
    def verdict(self) -> Verdict: ...
    async def reset(self, *, restart: bool) -> None: ...


class Control:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_simulator/verdict", self._verdict),
            web.get("/_simulator/calls", self._calls),
            web.get("/_simulator/campaigns", self._campaigns),
            web.post("/_simulator/campaigns", self._start_campaign),
            web.post("/_simulator/orders", self._tell_order),
            web.post("/_simulator/orders/{id}/release", self._release_order),
            web.get("/_simulator/faults", self._faults),
            web.post("/_simulator/faults", self._switch_on_faults),
            web.delete("/_simulator/faults", self._clear_faults),
            web.post("/_simulator/reset", self._reset),
        ]

    async def _verdict(self, _request: web.Request) -> web.Response:
        return _json(self._simulator.verdict().as_dict())

    async def _calls(self, request: web.Request) -> web.Response:
        exchange, query = self._simulator.exchange, request.query
        group = exchange.table.everything
        if campaign_id := query.get("campaign_id"):
            campaign = exchange.table.campaigns.get(campaign_id)
            if campaign is None:
                raise _problem(404, f"no campaign {campaign_id}")
            group = campaign.group
        calls: list[Call] = group.calls
        if status := query.get("status"):
            if status not in set(Status):
                raise _problem(400, f"status is one of {', '.join(Status)}")
            calls = list(group.by_status[Status(status)].values())
        limit = _number(query.get("limit"), 1_000)
        offset = _number(query.get("offset"), 0)
        return _json({"total": len(calls), "calls": [_call_row(call) for call in calls[offset : offset + limit]]})

    async def _campaigns(self, _request: web.Request) -> web.Response:
        return _json({"campaigns": [_campaign_row(c) for c in self._simulator.exchange.table.campaigns.values()]})

    async def _start_campaign(self, request: web.Request) -> web.Response:
        plan = await _read(request, _PLAN.validate_python)
        return _json(_campaign_row(self._simulator.exchange.start_campaign(plan, self._simulator.now())), 201)

    async def _tell_order(self, request: web.Request) -> web.Response:
        told = await _read(request, _TOLD.validate_python)
        return _json({"order_id": self._simulator.exchange.judge.orders.tell(told)}, 201)

    async def _release_order(self, request: web.Request) -> web.Response:
        order_id = request.match_info["id"]
        if not self._simulator.exchange.judge.orders.release(order_id, self._simulator.now()):
            raise _problem(404, f"no order {order_id} was told")
        return _json({"order_id": order_id})

    async def _faults(self, _request: web.Request) -> web.Response:
        faults = self._simulator.exchange.faults.in_force(self._simulator.now())
        return _json({"faults": _FAULTS.dump_python(faults, mode="json")})

    async def _switch_on_faults(self, request: web.Request) -> web.Response:
        for fault in await _read(request, _fault_list):
            self._simulator.exchange.faults.switch_on(fault, self._simulator.now())
        return await self._faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        kind = request.query.get("kind")
        if kind is not None and kind not in set(FaultKind):
            raise _problem(400, f"kind is one of {', '.join(FaultKind)}")
        self._simulator.exchange.faults.clear(FaultKind(kind) if kind else None)
        return await self._faults(request)

    async def _reset(self, request: web.Request) -> web.Response:
        restart = await _read(request, _restart)
        await self._simulator.reset(restart=restart)
        return _json({"restarted": restart})


async def _read(request: web.Request, check: Callable[[Any], _Checked]) -> _Checked:
    body = await request.read()
    try:
        return check(orjson.loads(body) if body else {})
    except ValidationError as error:
        raise _problem(400, "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors(include_url=False))) from (
            error
        )
    except ValueError as error:
        raise _problem(400, str(error)) from error


def _fault_list(value: Any) -> list[Fault]:
    faults = value.get("faults") if isinstance(value, dict) and "faults" in value else [value]
    return _FAULTS.validate_python(faults)


def _restart(value: Any) -> bool:
    return bool(value.get("restart")) if isinstance(value, dict) else False


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "body"


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default


def _call_row(call: Call) -> dict[str, Any]:
    return {
        "call_id": call.id,
        "status": call.status,
        "attempt": call.attempt,
        "number": call.number,
        "campaign_id": call.campaign.id,
        "agent_id": call.campaign.agent_id,
        "registered_at": iso(call.registered_at),
        "started_at": iso(call.started_at),
        "connected_at": iso(call.connected_at),
        "ended_at": iso(call.ended_at),
        "opted_out": call.opted_out,
    }


def _campaign_row(campaign: Campaign) -> dict[str, Any]:
    counts = {status.value: len(calls) for status, calls in campaign.group.by_status.items()}
    return {
        "campaign_id": campaign.id,
        "agent_id": campaign.agent_id,
        "name": campaign.name,
        "state": campaign.state,
        "calls": campaign.size,
        "calls_by_status": counts,
    }


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _problem(status: int, message: str) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPException]] = {400: web.HTTPBadRequest, 404: web.HTTPNotFound}
    return kinds[status](text=orjson.dumps({"error": message}).decode(), content_type="application/json")
