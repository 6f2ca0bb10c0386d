"""``backtest --events`` and ``rules test``, in the process of the test."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from consumer.cli import app

RULES = """
rules:
  - name: one-try
    when: event.status == "retry"
    stop: {scope: call}
    reason: tried in vain
"""
SECRET = "webhook-secret-of-the-test"
CONFIGURATION = f"""
accounts:
  acme:
    provider: ringg
    api_key: ${{RINGG_API_KEY}}
    webhook: {{auth: {{type: header, name: X-Webhook-Secret, secret: {SECRET}}}}}
rules:
  - {{name: opt-out, handler: opt_out, mode: enforce}}
"""
WEBHOOKS = Path(__file__).parents[1] / "webhooks" / "ringg"


@pytest.fixture(autouse=True)
def _nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    Path("rules.yaml").write_text(RULES)
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _body(name: str, **changes: Any) -> dict[str, Any]:
    """A payload as Ringg documents it."""
    golden = json.loads((WEBHOOKS / f"{name}.json").read_text())
    body: dict[str, Any] = golden.get("body", golden)
    return body | changes


def _registered(call_id: str, number: str = "+918882876897") -> dict[str, Any]:
    return {"data": {"call_id": call_id, "status": "registered", "to_number": number, "retry": 0}}


def _written(*lines: dict[str, Any], account: str = "acme") -> str:
    Path("events.jsonl").write_text("".join(json.dumps({"account": account, **line}) + "\n" for line in lines))
    return "events.jsonl"


def _retried() -> str:
    retry = _body("call_completed_retry", call_id="c-1", retry_count=0)
    done = _body("call_completed", call_id="c-1", retry_count=1, call_duration=90, call_cost=0.25)
    return _written(
        {"body": _registered("c-1"), "at": "2026-01-05T10:00:00Z"},
        {"body": retry, "at": "2026-01-05T10:01:00Z"},
        {"body": done, "at": 1767607500},
        {"body": {"event_type": "unheard of"}},
    )


def _tried(*arguments: str) -> Any:
    result = _call("backtest", "--rules", "rules.yaml", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_file_of_webhooks_needs_no_configuration_where_a_provider_is_named() -> None:
    told = _tried("--events", _retried(), "--provider", "ringg", "--decisions", "made.jsonl")
    (rule,) = told["rules"]
    assert (rule["rule"], rule["mode"], rule["orders"], rule["stopped"]) == ("one-try", "shadow", 1, 1)
    assert (rule["false_stops"], rule["saved_minutes"], rule["saved_cost"]) == (1, 1.5, 0.25)
    assert rule["first_at"] == "2026-01-05T10:01:00.000Z"
    assert rule["by_day"] == {"2026-01-05": {"orders": 1, "stopped": 1}}
    assert (told["events"], told["calls"], told["skipped"]) == (3, 1, 1)
    assert told["reasons"][0].startswith("line 4:")
    kinds = [json.loads(line)["kind"] for line in Path("made.jsonl").read_text().splitlines()]
    assert kinds == ["order", "stop"]


def test_accounts_and_rules_in_force_are_those_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("callbreaker.yaml").write_text(CONFIGURATION)
    monkeypatch.setenv("RINGG_API_KEY", "an-api-key-of-the-test")
    opted_out = _body("client_analysis_completed", call_id="c-0", client_analysis={"opt_out": True})
    events = _written(
        {"body": _registered("c-0"), "at": 1.0},
        {"body": _registered("c-1"), "at": 2.0},
        {"body": opted_out, "at": 3.0},
        {"body": _body("call_completed_retry", call_id="c-1", retry_count=0), "at": 4.0},
    )
    (rule,) = _tried("--events", events)["rules"]
    assert rule["overlap"] == {"opt-out": 1}
    whole = _call("backtest", "--rules", "callbreaker.yaml", "--events", events, "--json")
    assert [rule["rule"] for rule in json.loads(whole.stdout)["rules"]] == ["opt-out"]


def test_an_expectation_that_is_not_met_ends_with_1_and_says_what_was_found() -> None:
    arguments = ["backtest", "--rules", "rules.yaml", "--events", _retried(), "--provider", "ringg"]
    result = _call(*arguments, "--expect", "one-try.stopped>=1", "--expect", "false_stops<=0")
    assert result.exit_code == 1
    assert "met  one-try.stopped>=1: found 1" in result.stdout
    assert "not met  false_stops<=0: found 1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--from T"),
        (["--events", "none.jsonl", "--from", "24h"], "--from T"),
        (["--from", "yesterday"], "is no time"),
        (["--events", "events.jsonl", "--provider", "rign"], "There is no provider 'rign'"),
        (["--events", "events.jsonl", "--provider", "ringg", "--expect", "stoped>=1"], "did you mean 'stopped'"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(arguments: list[str], told: str) -> None:
    _retried()
    result = _call("backtest", "--rules", "rules.yaml", *arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1: it is not JSON"),
        ('{"account": "acme"}', "line 1: it is not {"),
        ('{"account": "acme", "body": {}, "when": 1}', "has 'when'"),
        ('{"account": "acme", "body": {}, "at": "soon"}', "neither a time"),
        ('{"account": "ACME", "body": {}}', "of account 'ACME'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, told: str) -> None:
    Path("events.jsonl").write_text(line.replace('"body": {}', f'"body": {json.dumps(_registered("c"))}') + "\n")
    result = _call("backtest", "--rules", "rules.yaml", "--events", "events.jsonl", "--provider", "ringg")
    assert result.exit_code == 1
    assert told in result.stderr


def _tests(tests: str, rules: str = "rules: rules.yaml") -> str:
    Path("rules.test.yaml").write_text(f"{rules}\n{tests}")
    return "rules.test.yaml"


PASSING = """
tests:
  - name: a call that was tried in vain is stopped
    events:
      - {status: registered, call_id: c-1}
      - body: {event_type: call_completed, call_id: c-1, status: retry, retry_count: 0}
        at: 2026-01-05T11:00:00Z
    expect:
      - {rule: one-try, scope: {call_ids: [c-1]}, reason: in vain, hold: 0, mode: shadow}
    stopped: [c-1]
  - name: one that waits is left alone
    events: [{status: registered}]
    expect: []
"""


def test_rules_that_do_as_expected_pass() -> None:
    result = _call("rules", "test", _tests(PASSING))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "2 passed, 0 failed"
    in_one = _call("rules", "test", _tests(PASSING, RULES), "--json")
    assert json.loads(in_one.stdout)["passed"] == 2


COUNTING = """
rules:
  - name: failing
    over: {scope: campaign, window: 10m, at_least: 3}
    when: totals.failed > 0.5 * totals.finished
    stop: {scope: campaign}
  - name: twice
    when: event.status == "failed" && call.number != null
    stop: {scope: number, hold: 1h}
    throttle: {matches: {count: 2, within: 10m}}
tests:
  - name: three failures stop the campaign
    events:
      - {status: registered, call_id: c-9, campaign_id: camp}
      - {status: failed, call_id: c-1, campaign_id: camp, attempt: 0}
      - {status: failed, call_id: c-2, campaign_id: camp, attempt: 0}
      - {status: failed, call_id: c-3, campaign_id: camp, attempt: 0}
      - {status: registered, call_id: c-10, campaign_id: camp, after: 5s}
    expect: [{rule: failing, scope: {campaign_id: camp}}]
    stopped: [c-9, c-10]
  - name: two failures are not enough
    events:
      - {status: failed, call_id: c-1, campaign_id: camp, attempt: 0}
      - {status: failed, call_id: c-2, campaign_id: camp, attempt: 0, after: 11m}
      - {status: failed, call_id: c-3, campaign_id: camp, attempt: 0, after: 11m}
  - name: a number that failed twice
    events:
      - {status: failed, call_id: c-1, number: "+918882876897", attempt: 0}
      - {status: failed, call_id: c-2, number: "+918882876897", attempt: 0}
    expect: [{rule: twice}]
"""


def test_rules_that_count_can_be_tested() -> None:
    Path("counting.yaml").write_text(COUNTING)
    result = _call("rules", "test", "counting.yaml")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "3 passed, 0 failed"


FAILING = """
tests:
  - name: nearly
    events: [{status: retry, attempt: 0}]
    expect: [{rule: one-try, reason: because, hold: 7d}]
  - name: nothing
    events: [{status: retry, attempt: 0}]
  - name: never
    events: [{status: registered}]
    expect: [{rule: one-try, scope: {call_ids: [call-1]}}]
    stopped: [call-1]
"""


SHOWN = (
    *("failed nearly", "- hold: 7d", "+ hold: 0", "- reason: …because…", "+ reason: tried in vain"),
    *("failed nothing", "+ rule: one-try, scope: call_ids call-1, reason: tried in vain, hold: 0, mode: shadow"),
    *("failed never", "- rule: one-try, scope: call_ids call-1", "- call call-1 is stopped", "0 passed, 3 failed"),
)


def test_what_is_not_as_expected_is_shown_beside_what_was_expected() -> None:
    result = _call("rules", "test", _tests(FAILING))
    assert result.exit_code == 1
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert _in_order(lines, SHOWN)
    told = json.loads(_call("rules", "test", "rules.test.yaml", "--json").stdout)
    assert told["failed"] == 3
    assert told["tests"][0]["wrong"][0]["different"]["hold"] == {"expected": "7d", "found": "0"}
    assert told["tests"][2]["not_stopped"] == ["call-1"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tests: [{name: a, events: [{stauts: retry}]}]", "did you mean"),
        ("tests: [{name: a, events: [{call_id: c}]}]", "neither type, status, analysis nor body"),
        ("tests: [{name: a, events: [{status: retry}], expect: [{rule: x, scope: {campaign: c}}]}]", "not a scope"),
        ("tests: []", "empty"),
    ],
)
def test_a_file_of_tests_that_is_wrong_is_refused_with_its_place(text: str, told: str) -> None:
    result = _call("rules", "test", _tests(text))
    assert result.exit_code == 2
    assert "rules.test.yaml, line 2" in result.stderr
    assert told in " ".join(result.stderr.split())


def _in_order(lines: Sequence[str], wanted: Sequence[str]) -> bool:
    left = iter(lines)
    return all(any(line == wish for line in left) for wish in wanted)
