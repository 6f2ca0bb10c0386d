"""``config check|show`` and what usage errors look like: each in the process of the test."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from consumer.cli import app

API_KEY = "api-key-that-nobody-may-read"
SOUND = f"""
accounts:
  acme-ringg:
    provider: ringg
    api_key: {API_KEY}
    webhook: {{auth: {{type: header, name: X-Webhook-Secret, secret: a-webhook-secret}}}}
rules:
  - {{name: opt-out, handler: opt_out, mode: enforce}}
"""


@pytest.fixture(autouse=True)
def _nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("CALLBREAKER_URL", "CALLBREAKER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _written(text: str) -> str:
    Path("callbreaker.yaml").write_text(text)
    return "callbreaker.yaml"


def test_a_sound_configuration_is_summed_up() -> None:
    result = _call("config", "check", "--config", _written(SOUND))
    assert result.exit_code == 0
    assert "callbreaker.yaml is in order" in result.stdout
    assert "acme-ringg (ringg)" in result.stdout
    assert "opt-out (enforce)" in result.stdout


def test_callbreaker_yaml_in_the_directory_is_the_configuration() -> None:
    _written(SOUND)
    assert "callbreaker.yaml is in order" in _call("config", "check").stdout


def test_without_any_configuration_the_defaults_are_in_order() -> None:
    result = _call("config", "check")
    assert result.exit_code == 0
    assert "The environment is in order" in result.stdout


def test_every_problem_is_told_with_file_path_reason_and_remedy() -> None:
    file = _written(SOUND.replace("api_key: ", "colour: red\n    api_key: ${NOT_SET_ANYWHERE} # "))
    result = _call("config", "check", "--config", file)
    assert result.exit_code == 2
    assert "callbreaker.yaml, line 5: accounts.acme-ringg.colour" in result.stderr
    assert "there is no such key" in result.stderr
    assert "→ set NOT_SET_ANYWHERE" in result.stderr
    assert "2 problems" in result.stderr
    assert "Traceback" not in result.stderr


def test_rules_that_cannot_be_loaded_are_problems_of_the_configuration() -> None:
    rules = """
rules:
  - {name: first, handler: no_such_rule}
  - {name: second, when: "event.nonsense == 1", stop: {scope: call}}
"""
    result = _call("config", "check", "--config", _written(rules))
    assert result.exit_code == 2
    assert "callbreaker.yaml, line 3: rules[0]" in result.stderr
    assert "no_such_rule: no such rule" in result.stderr
    assert "callbreaker.yaml, line 4: rules[1]" in result.stderr
    assert "event has no field 'nonsense'" in result.stderr


def test_a_provider_that_is_not_there_is_a_problem_before_the_start() -> None:
    result = _call("config", "check", "--config", _written(SOUND.replace("provider: ringg", "provider: nobody")))
    assert result.exit_code == 2
    assert "there is no such provider" in result.stderr


def test_show_masks_secrets_and_says_what_is_in_effect() -> None:
    file = _written(SOUND)
    as_yaml, as_json = _call("config", "show", "--config", file), _call("config", "show", "--config", file, "--json")
    for result in (as_yaml, as_json):
        assert result.exit_code == 0
        assert API_KEY not in result.stdout
        assert "a-webhook-secret" not in result.stdout
        assert "•••• (sha256:" in result.stdout
        assert "confirm_within" in result.stdout


def test_one_role_alone_needs_a_kafka_that_others_reach() -> None:
    result = _call("ingest", "--config", _written(SOUND))
    assert result.exit_code == 2
    assert "kafka.bootstrap_servers" in result.stderr
    assert "callbreaker kafka" in result.stderr


def test_an_unknown_log_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBREAKER_LOG_LEVEL", "LOUD")
    result = _call("run", "--config", _written(SOUND))
    assert result.exit_code == 2
    assert "DEBUG, INFO, WARNING, ERROR" in result.stderr


@pytest.mark.parametrize(
    "selectors",
    [
        [],
        ["--campaign", "c", "--agent", "a"],
        ["--call", "c", "--number", "+918882876897"],
        ["--campaign", "c", "left-over"],
    ],
)
def test_a_stop_that_does_not_name_one_thing_is_a_usage_error(selectors: list[str]) -> None:
    result = _call("stop", *selectors, "--account", "acme-ringg", "--reason", "test", "--token", "t")
    assert result.exit_code == 2


def test_a_stop_without_a_reason_is_a_usage_error() -> None:
    assert _call("stop", "--account", "acme-ringg", "--campaign", "c", "--token", "t").exit_code == 2


def test_without_a_token_the_command_says_where_it_looked() -> None:
    result = _call("orders")
    assert result.exit_code == 2
    assert "CALLBREAKER_TOKEN" in result.stderr
    assert ".callbreaker/token" in result.stderr


def test_nobody_at_the_address_is_one_paragraph_and_exit_code_1() -> None:
    result = _call("orders", "--url", "http://127.0.0.1:9", "--token", "t")
    assert result.exit_code == 1
    assert "No answer from http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--fault", "timeout,share=2"], "share"),
        (["--speed", "0"], "speed"),
        (["--scenario", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_scenario_that_cannot_be_played_is_refused(arguments: list[str], what: str) -> None:
    result = _call("simulate", "--port", "0", *arguments)
    assert result.exit_code == 2
    assert what in result.stderr
