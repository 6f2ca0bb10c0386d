"""What was kept because nothing could be made of it, and reading it again once something can."""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from consumer.console import shown
from consumer.console.cursors import known_query, page_size
from consumer.console.problems import ProblemError, json_response
from consumer.console.state import ConsoleState, StillRejectedError
from consumer.kafka.reader import LogRecord
from consumer.kafka.rejected import Bounds
from consumer.model.events import Position

WRITE_SECONDS = 5.0
SHOWN_CHARACTERS = 2_000
REJECTED_ID = re.compile(r"([0-9]{1,6})-([0-9]{1,18})")


class RejectedApi:
    """Handlers under ``/api/v1/rejected``."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state

    async def listed(self, request: web.Request) -> web.Response:
        """GET: list what was kept, newest first: where it came from, why, and how it begins."""
        self._state.operators.require(request, "viewer")
        known_query(request)
        below = _decode(request.query.get("cursor"), self._state.rejected.partitions)
        records, older = await self._state.rejected.newest(page_size(request), below)
        return json_response({"items": [_shown(record) for record in records], "next_cursor": _encode(older)})

    async def replay(self, request: web.Request) -> web.Response:
        """POST: read a kept webhook again, and write the events that its account makes of it now."""
        self._state.operators.require(request, "operator")
        record = await self._record(request.match_info["rejected_id"])
        kept = _kept(record)
        raw = _body(kept)
        if kept.get("source") != "webhook" or raw is None:
            raise ProblemError(
                409,
                "cannot be replayed",
                "only a webhook can be read again; a rule's failure is mended in the rule, for the events that follow",
            )
        account, event_id = str(kept.get("account")), str(kept.get("event_id"))
        try:
            records = self._state.reread(account, event_id, raw)
        except StillRejectedError as error:
            raise ProblemError(409, "still rejected", str(error)) from error
        async with asyncio.timeout(WRITE_SECONDS):
            await asyncio.gather(*[self._state.producer.publish(one) for one in records])
        return json_response({"rejected_id": _id(record), "event_id": event_id, "events": len(records)})

    async def _record(self, rejected_id: str) -> LogRecord:
        match = REJECTED_ID.fullmatch(rejected_id)
        found = None
        if match and int(match[1]) < self._state.rejected.partitions:
            found = await self._state.rejected.one(int(match[1]), int(match[2]))
        if found is None:
            raise ProblemError(404, "no such record", "nothing with this id is kept (any more)")
        return found


def _id(record: LogRecord) -> str:
    return f"{record.partition}-{record.offset}"


def _kept(record: LogRecord) -> Mapping[str, Any]:
    try:
        kept = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _body(kept: Mapping[str, Any]) -> bytes | None:
    if isinstance(kept.get("body"), str):
        return str(kept["body"]).encode()
    if isinstance(kept.get("body_base64"), str):
        return base64.b64decode(kept["body_base64"])
    return None


def _shown(record: LogRecord) -> dict[str, Any]:
    kept = _kept(record)
    body = _body(kept)
    return {
        "rejected_id": _id(record),
        "at": shown.iso(record.timestamp / 1_000),
        "source": kept.get("source"),
        "account": kept.get("account"),
        "event_id": kept.get("event_id"),
        "call_id": kept.get("call_id"),
        "rule": kept.get("rule"),
        "reason": kept.get("reason"),
        "body": body.decode(errors="replace")[:SHOWN_CHARACTERS] if body is not None else None,
        "body_bytes": len(body) if body is not None else None,
        "evidence": shown.position(Position(record.topic, record.partition, record.offset)),
    }


def _encode(bounds: Bounds | None) -> str | None:
    return base64.urlsafe_b64encode(orjson.dumps(bounds)).decode().rstrip("=") if bounds else None


def _decode(text: str | None, partitions: int) -> Bounds | None:
    if not text:
        return None
    try:
        bounds = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if len(bounds) == partitions and all(type(bound) is int and bound >= 0 for bound in bounds):
            return tuple(bounds)
    except (ValueError, TypeError, binascii.Error):
        pass
    raise ProblemError(422, "cannot be read", "cursor: not one that this list has given", field="cursor")
