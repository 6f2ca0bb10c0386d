"""Controls over HTTP: the safety lever, the modes of rules, and what is loud."""

import asyncio
import time
from typing import Any

from aiohttp import web

from consumer.console import shown_controls as shown
from consumer.console.problems import ProblemError, json_response
from consumer.console.requests import LeverRequest, RuleModeRequest, parse
from consumer.console.state import ConsoleState, RuleInForce
from consumer.kafka.order_feed import control_record
from consumer.model.controls import Control, Lever, RuleMode
from consumer.model.orders import Author, Mode

WRITE_SECONDS = 5.0
SEEN_SECONDS = 3.0


class ControlApi:
    """Handlers of ``/api/v1/safety-lever``, ``/rules`` and ``/alerts``."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state

    async def lever(self, request: web.Request) -> web.Response:
        """GET: whether the safety lever is engaged, by whom and why."""
        self._state.operators.require(request, "viewer")
        return json_response(shown.lever(self._state.feed.controls.lever))

    async def set_lever(self, request: web.Request) -> web.Response:
        """PUT: engage or release it. Engaged: rules decide and record, and nothing is sent for them."""
        operator = self._state.operators.require(request, "operator")
        wanted = await parse(request, LeverRequest)
        lever = Lever(wanted.engaged, wanted.reason, Author("operator", operator.name))
        await self._write(lever)
        return json_response(shown.lever(self._state.feed.controls.lever))

    async def rules(self, request: web.Request) -> web.Response:
        """GET: the rules in force, each with the mode it is configured with and the one it is in."""
        self._state.operators.require(request, "viewer")
        await self._state.figures.refresh()
        return json_response({"items": self._rules(), "next_cursor": None})

    async def set_mode(self, request: web.Request) -> web.Response:
        """PUT: set the mode of a rule. Orders that it has made keep theirs."""
        operator = self._state.operators.require(request, "operator")
        wanted = await parse(request, RuleModeRequest)
        rule = next((one for one in self._state.rules() if one.name == request.match_info["rule"]), None)
        if rule is None:
            raise ProblemError(404, "no such rule", "GET /api/v1/rules lists those in force")
        share, campaigns = _canary(wanted, rule)
        by = Author("operator", operator.name)
        await self._write(RuleMode(rule.name, wanted.mode, wanted.reason, by, share, campaigns))
        (row,) = [row for row in self._rules() if row["name"] == rule.name]
        return json_response(row)

    async def alerts(self, request: web.Request) -> web.Response:
        """GET: what is loud now, the latest first."""
        self._state.operators.require(request, "viewer")
        return json_response({"items": shown.alerts(self._state.feed.controls), "next_cursor": None})

    def _rules(self) -> list[dict[str, Any]]:
        feed = self._state.feed
        return shown.rules(self._state.rules(), feed.controls, feed.book.tallies(), self._state.figures.failures)

    async def _write(self, control: Control) -> None:
        """Write durably, then wait until this console has read it back, so that the next GET shows it."""
        async with asyncio.timeout(WRITE_SECONDS):
            offset = await self._state.producer.publish(control_record(self._state.topics.stop_orders, control))
        give_up_at = time.monotonic() + SEEN_SECONDS
        while time.monotonic() < give_up_at and self._state.feed.next_offset <= offset:
            await asyncio.sleep(0.005)


def _canary(wanted: RuleModeRequest, rule: RuleInForce) -> tuple[float, tuple[str, ...]]:
    """Give the share and the campaigns of a canary: those that are asked for, else those of the configuration."""
    if wanted.mode is not Mode.CANARY:
        return 1.0, ()
    if wanted.canary and (wanted.canary.share or wanted.canary.campaigns):
        return wanted.canary.share or 1.0, wanted.canary.campaigns
    if wanted.canary is None and (rule.canary_campaigns or rule.canary_share < 1.0):
        return rule.canary_share, rule.canary_campaigns
    detail = "canary: a share between 0 and 1, or campaigns; without either, all calls would be stopped"
    raise ProblemError(422, "cannot be meant", detail, field="canary")
