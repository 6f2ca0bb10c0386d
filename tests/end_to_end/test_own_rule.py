"""Rules of a user's own, as a user has them: a module beside the configuration file, an expression, a built-in's name."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import yaml
from aiohttp import web

from tests.end_to_end.command_line import call
from tests.end_to_end.service_process import (
    ACCOUNT,
    API_KEY,
    ServiceProcess,
    configuration,
    ringg_envelope,
)
from tests.ports import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

OWN_MODULE = """\
from consumer.model import Call, CallEvent, Stop, rule


@rule(on="analysis", version="3")
def angry_caller(event: CallEvent, call: Call) -> Stop | None:
    if event.analysis.get("sentiment") == "angry":
        return Stop.number(call.number, reason="caller asked us to stop", hold="30d")
    return None


@rule(on="analysis")
def shadowed(event: CallEvent, call: Call) -> Stop | None:
    if event.analysis.get("sentiment") == "sad":
        return Stop.number(call.number, reason="sad, perhaps")
    return None


@rule(on="analysis", version="7")
def stumbling(event: CallEvent, call: Call) -> Stop | None:
    if event.analysis["mood_score"] < 2:
        return Stop.campaign(call.campaign_id, reason="mood is too low")
    return None


@rule(on="analysis")
def wordless(event: CallEvent, call: Call) -> Stop | None:
    if event.analysis.get("sentiment") == "leaving":
        raise SystemExit(3)
    if event.analysis.get("sentiment") == "wordless":
        return Stop.number(call.number, reason=event.analysis.get("why"))
    return None
"""
QA_SECRET = "a-secret-of-the-qa-tool"
RULES: list[dict[str, Any]] = [
    {"name": "angry-caller", "handler": "my_rules:angry_caller", "mode": "enforce"},
    {"name": "perhaps", "handler": "my_rules:shadowed", "mode": "shadow"},
    {"name": "low-mood", "handler": "my_rules:stumbling", "mode": "enforce"},
    {"name": "wordless", "handler": "my_rules:wordless", "mode": "enforce"},
    {
        "name": "too-long",
        "when": "event.type == 'analysis' && event.analysis.minutes > params.longest && call.number != null",
        "params": {"longest": 5},
        "stop": {"scope": "number", "hold": "1h"},
        "reason": "they have talked long enough",
        "mode": "enforce",
    },
    {"name": "opt-out", "handler": "opt_out", "mode": "enforce"},
    {
        "name": "failing",
        "over": {"scope": "campaign", "window": "10m", "at_least": 3},
        "when": "totals.share('failed', 'finished') > params.most",
        "params": {"most": 0.5},
        "stop": {"scope": "campaign", "hold": "1h"},
        "mode": "enforce",
    },
    {
        "name": "qa",
        "handler": "manual",
        "signal": {"auth": {"type": "bearer", "secret": QA_SECRET}},
        "stop": {"scope": "number", "hold": "2h"},
        "mode": "enforce",
    },
]


@dataclass
class Provider:
    """Ringg's terminate endpoint: takes everything, and knows what it was asked for."""

    asked: list[str] = field(default_factory=list)

    async def terminate(self, request: web.Request) -> web.Response:
        assert request.headers["X-API-KEY"] == API_KEY
        body = orjson.loads(await request.read())
        assert set(body) == {"call_ids"}
        self.asked += body["call_ids"]
        return web.json_response({"message": "Calls terminated successfully!"})


@asynccontextmanager
async def listening(provider: Provider) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_patch("/ca/api/v0/campaign/terminate", provider.terminate)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/ca/api/v0"
    finally:
        await runner.cleanup()


class Told:
    """What the service is told, and what it then says."""

    def __init__(self, service: ServiceProcess, provider: Provider) -> None:
        self.service = service
        self.provider = provider

    async def waiting(self, *call_ids: str, number: str) -> None:
        """Let calls to one number register."""
        for call_id in call_ids:
            assert (await self.service.webhook(ringg_envelope(call_id, "registered", number=number)))[0] == 200

    async def analysed(self, call_id: str, **analysis: Any) -> None:
        body = {"event_type": "client_analysis_completed", "call_id": call_id, "client_analysis": analysis}
        assert (await self.service.webhook(body))[0] == 200

    async def over(self, call_id: str, number: str) -> None:
        assert (await self.service.webhook(ringg_envelope(call_id, "completed", number=number)))[0] == 200

    async def orders(self, rule: str) -> list[dict[str, Any]]:
        _, answer = await self.service.get(f"/api/v1/stop-orders?account={ACCOUNT}")
        return [order for order in answer["items"] if order["rule"] and order["rule"]["name"] == rule]

    async def order(self, rule: str, **counts: int) -> dict[str, Any]:
        """Wait until a rule's order has these counts; gives the whole order."""
        shown: dict[str, Any] = {}

        async def there() -> bool:
            for row in await self.orders(rule):
                shown.update((await self.service.get(f"/api/v1/stop-orders/{row['order_id']}"))[1])
            return bool(shown) and shown["counts"] | counts == shown["counts"]

        await self.service.until(there)
        return shown

    async def terminations(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        _, answer = await self.service.get(f"/api/v1/terminations?order_id={order['order_id']}")
        return list(answer["items"])

    async def failures(self, rule: str) -> list[dict[str, Any]]:
        _, answer = await self.service.get("/api/v1/rejected")
        return [item for item in answer["items"] if item["rule"] == rule]

    async def metric(self, name: str, **labels: str) -> float:
        async with aiohttp.ClientSession() as http, http.get(f"{self.service.url}/metrics") as answer:
            text = await answer.text()
        wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
        found = re.search(rf"^{name}{{{re.escape(wanted)}}} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


async def test_rules_of_ones_own_stop_what_they_say_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "my_rules.py").write_text(OWN_MODULE)
    provider = Provider()
    async with listening(provider) as url:
        settings = configuration(tmp_path / "data", port=free_port(), provider_url=url) | {"rules": RULES}
        async with ServiceProcess(tmp_path, settings) as service:
            told = Told(service, provider)
            await python_rule_stops_the_other_calls_of_the_number(told)
            await shadow_is_recorded_and_sends_nothing(told)
            await rule_that_raises_stops_nothing_and_holds_up_nothing(told)
            await rule_that_exits_or_gives_no_reason_has_failed(told)
            await expression_stops_on_the_same_path(told)
            await built_in_rule_by_its_name_stops_on_the_same_path(told)
            await rule_over_totals_stops_what_the_sums_of_all_partitions_say(told)
            await signal_from_outside_stops_on_the_same_path(told)


async def python_rule_stops_the_other_calls_of_the_number(told: Told) -> None:
    await told.waiting("angry-0", "angry-1", "angry-2", number="+918882876891")
    await told.waiting("calm-0", number="+918882876892")
    await told.over("angry-0", "+918882876891")
    await told.analysed("angry-0", sentiment="angry", mood_score=9)
    order = await told.order("angry-caller", accepted=2)
    assert sorted(told.provider.asked) == ["angry-1", "angry-2"]
    assert order["state"] == "in_force"
    assert (order["reason"], order["hold"], order["mode"]) == ("caller asked us to stop", "30d", "enforce")
    assert order["rule"]["version"] == "3"
    assert re.fullmatch(r"[0-9a-f]{8,}", order["rule"]["hash"])
    _, seen = await told.service.get(f"/api/v1/calls/{ACCOUNT}/angry-0")
    (analysis,) = [event for event in seen["history"] if event["type"] == "analysis"]
    (evidence,) = order["evidence"]
    assert evidence.pop("event")["call_id"] == "angry-0"
    assert evidence == analysis["evidence"]
    _, calm = await told.service.get(f"/api/v1/calls/{ACCOUNT}/calm-0")
    assert calm["terminable"]
    assert calm["terminations"] == []


async def shadow_is_recorded_and_sends_nothing(told: Told) -> None:
    before = list(told.provider.asked)
    await told.waiting("sad-0", "sad-1", number="+918882876893")
    await told.analysed("sad-0", sentiment="sad", mood_score=9)
    order = await told.order("perhaps", matched=2)
    assert order["mode"] == "shadow"

    async def both() -> bool:
        return len(await told.terminations(order)) == 2

    await told.service.until(both)
    shown = await told.terminations(order)
    assert {(one["call_id"], one["outcome"]) for one in shown} == {("sad-0", "shadow"), ("sad-1", "shadow")}
    assert [one["requests"] for one in shown] == [[], []]
    assert told.provider.asked == before


async def rule_that_raises_stops_nothing_and_holds_up_nothing(told: Told) -> None:
    failed = await told.metric("callbreaker_rule_failures_total", rule="low-mood")
    await told.waiting("odd-0", "odd-1", number="+918882876894")
    await told.analysed("odd-0", sentiment="puzzled")

    async def recorded() -> bool:
        return any(failure["call_id"] == "odd-0" for failure in await told.failures("low-mood"))

    await told.service.until(recorded)
    (failure,) = [failure for failure in await told.failures("low-mood") if failure["call_id"] == "odd-0"]
    assert (failure["source"], failure["account"]) == ("rule", ACCOUNT)
    assert failure["reason"] == "KeyError: 'mood_score'"
    assert await told.metric("callbreaker_rule_failures_total", rule="low-mood") == failed + 1
    assert await told.orders("low-mood") == []
    await told.analysed("odd-1", sentiment="angry")  # the same rule raises again, another one still answers

    async def stopped() -> bool:
        return {"odd-0", "odd-1"} <= set(told.provider.asked)

    await told.service.until(stopped)


async def rule_that_exits_or_gives_no_reason_has_failed(told: Told) -> None:
    await told.waiting("mute-0", number="+918882876895")
    await told.analysed("mute-0", sentiment="wordless", mood_score=9)

    await told.analysed("mute-0", sentiment="leaving", mood_score=9)

    async def recorded() -> bool:
        return len(await told.failures("wordless")) == 2

    await told.service.until(recorded)
    exited, wordless = sorted([failure["reason"] for failure in await told.failures("wordless")], reverse=True)
    assert exited == "SystemExit: 3"
    assert "the stop has no reason" in wordless
    assert await told.orders("wordless") == []
    assert await told.service.ready()


async def expression_stops_on_the_same_path(told: Told) -> None:
    await told.waiting("long-0", "long-1", number="+918882876896")
    await told.analysed("long-0", minutes=4, mood_score=9)
    await told.analysed("long-0", minutes=6, mood_score=9)
    order = await told.order("too-long", accepted=2)
    assert (order["reason"], order["hold"], order["rule"]["version"]) == ("they have talked long enough", "1h", "1")
    assert len(order["evidence"]) == len(await told.orders("too-long")) == 1
    assert {"long-0", "long-1"} <= set(told.provider.asked)


async def built_in_rule_by_its_name_stops_on_the_same_path(told: Told) -> None:
    await told.waiting("out-0", "out-1", number="+918882876897")
    await told.analysed("out-1", do_not_call=True, mood_score=9)
    order = await told.order("opt-out", accepted=2)
    assert order["reason"] == "the person asked not to be called again (analysis.do_not_call)"
    assert (order["hold"], len(order["evidence"])) == ("30d", 1)
    assert {"out-0", "out-1"} <= set(told.provider.asked)
    await asyncio.gather(*[told.waiting(f"out-{n}", number="+918882876897") for n in (2, 3)])
    await told.order("opt-out", accepted=4)  # what registers later is stopped too


async def rule_over_totals_stops_what_the_sums_of_all_partitions_say(told: Told) -> None:
    campaign = {"bulk_list_id": "campaign-of-failures"}
    for n in range(6):
        body = {"event_type": "call_completed", "call_id": f"sum-{n}", "status": "failed", "retry_count": 0, **campaign}
        assert (await told.service.webhook(body))[0] == 200
    order = await told.order("failing")
    assert (order["scope"], order["hold"]) == ({"campaign_id": "campaign-of-failures"}, "1h")
    assert order["reason"] == "failing: totals.share('failed', 'finished') > params.most"
    assert await told.orders("failing") != []


async def signal_from_outside_stops_on_the_same_path(told: Told) -> None:
    await told.waiting("qa-0", "qa-1", number="+918882876898")
    signal = {"account": ACCOUNT, "scope": {"mobile_numbers": ["+918882876898"]}, "reason": "the wrong person"}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {QA_SECRET}"}) as http:
        for _ in range(2):
            async with http.post(f"{told.service.url}/signals/qa", json=signal) as answer:
                assert answer.status == 200
    async with aiohttp.ClientSession() as http, http.post(f"{told.service.url}/signals/qa", json=signal) as answer:
        assert answer.status == 401
    order = await told.order("qa", accepted=2)
    assert (order["reason"], order["hold"], len(await told.orders("qa"))) == ("the wrong person", "2h", 1)
    assert {"qa-0", "qa-1"} <= set(told.provider.asked)


@pytest.mark.parametrize(
    ("module", "handler", "says"),
    [
        (None, "my_rules:angry_caller", r"there is no 'my_rules'; put it beside the configuration file"),
        (
            "import no_such_thing\n",
            "my_rules:angry_caller",
            r"No module named 'no_such_thing' \(.*my_rules.py, line 1\)",
        ),
        ("def angry_caller(:\n", "my_rules:angry_caller", r"SyntaxError: .*\(my_rules.py, line 1\)"),
        ("raise SystemExit(3)\n", "my_rules:angry_caller", r"SystemExit: 3 \(.*my_rules.py, line 1\)"),
        ("angry_caller = print\n", "my_rules:angry_caller", r"it is not a rule; decorate it with @rule"),
        (OWN_MODULE, "my_rules:furious_caller", r"the module has no 'furious_caller'"),
        (None, "optout", r"no such rule; there are .*opt_out"),
    ],
)
def test_rule_that_cannot_be_loaded_stops_the_start_with_file_rule_and_reason(
    tmp_path: Path, module: str | None, handler: str, says: str
) -> None:
    folder, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    if module is not None:
        (folder / "my_rules.py").write_text(module)
    file = folder / "callbreaker.yaml"
    file.write_text(yaml.safe_dump({"rules": [{"name": "angry-caller", "handler": handler}]}))
    ended = call("run", "--config", str(file), cwd=elsewhere, COLUMNS="1000")
    assert ended.returncode == 2
    assert re.search(rf"{re.escape(str(file))}, line \d+: rules\[0\]", ended.stderr), ended.stderr
    assert re.search(rf"rule angry-caller: {handler}: .*{says}", ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
