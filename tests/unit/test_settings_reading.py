"""Files, variables and overrides: what is read from where, and how what is wrong is reported."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.settings import ConfigurationError, Problem, Settings, load_settings

ACCOUNT = """
accounts:
  acme-ringg:
    provider: ringg
    api_key: api-key
    webhook: {auth: {type: bearer, secret: webhook-secret}}
"""


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path = folder / "c.yaml"
    path.write_text(text)
    return load_settings(path, environ or {})


def refused(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return caught.value


def only(error: ConfigurationError) -> Problem:
    (problem,) = error.problems
    return problem


def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        """accounts:
  one:
    provider: ringg
    api_key: ${NOT_SET}
    webhook: {auth: {type: header, header: X, secret: webhook-secret}}
    rate_limit: {brust: 5}
  two: {provider: ringg, api_key: k, webhook: {auth: {type: bearer, secret: webhook-secret}}}
  three: {provider: ringg, api_key: k, webhook: {auth: {type: bearer, secret: other-secret}}}
rules:
  - {name: r, mode: loud, handler: m:f}
  - {name: s, handler: m:f}
  - {name: s, handler: m:f}
oprators: []
""",
    )
    assert [(p.line, p.path) for p in error.problems] == [
        (4, "accounts.one.api_key"),
        (5, "accounts.one.webhook.auth.name"),
        (5, "accounts.one.webhook.auth.header"),
        (6, "accounts.one.rate_limit.brust"),
        (8, "accounts.three.api_key"),
        (10, "rules[0].mode"),
        (12, "rules[2].name"),
        (13, "oprators"),
    ]
    blocks = str(error).split("\n\n")
    assert len(blocks) == len(error.problems)
    assert blocks[-1] == (
        f"{tmp_path / 'c.yaml'}, line 13: oprators\n  there is no such key\n  → did you mean `operators`?"
    )


def test_an_operator_that_is_wrong_is_not_also_a_missing_one(tmp_path: Path) -> None:
    text = "http: {host: 0.0.0.0}\noperators: [{name: a, role: king, token: abcdefgh}]"
    assert only(refused(tmp_path, text)).path == "operators[0].role"


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("http: {prot: 1}", "http.prot", "did you mean `port`?"),
        ("kafka: {zzz: 1}", "kafka.zzz", "the keys here are `bootstrap_servers`, `compression`"),
        ("limits: {per_rule: {share: 0.1, cals: 1}}", "limits.per_rule.cals", "did you mean `calls`?"),
        (
            ACCOUNT.replace("secret: w", "sekret: w"),
            "accounts.acme-ringg.webhook.auth.sekret",
            "did you mean `secret`?",
        ),
        (ACCOUNT + "    batch: {sizes: 5}", "accounts.acme-ringg.batch.sizes", "did you mean `size`?"),
        (
            "rules: [{name: r, handler: m:f, stop: {scope: call, hodl: 0}}]",
            "rules[0].stop.hodl",
            "did you mean `hold`?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    tmp_path: Path, text: str, path: str, remedy: str
) -> None:
    problem = next(p for p in refused(tmp_path, text).problems if p.path == path)
    assert problem.reason == "there is no such key"
    assert problem.remedy.startswith(remedy)


def test_an_unknown_field_of_the_body_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    text = ACCOUNT.replace("webhook: {", "webhook: {fields: {campain_id: a}, ")
    assert only(refused(tmp_path, text)).remedy == "did you mean `campaign_id`?"


def test_a_variable_is_read_also_inside_a_text_and_in_flow_style(tmp_path: Path) -> None:
    text = ACCOUNT.replace("api-key", "pre-${A}-${B}").replace("secret: webhook-secret", "secret: ${C}")
    account = load(tmp_path, text, {"A": "1", "B": "2", "C": "a: b, {c} # d"}).accounts["acme-ringg"]
    assert account.api_key.get_secret_value() == "pre-1-2"
    assert account.webhook.auth.model_dump()["secrets"][0].get_secret_value() == "a: b, {c} # d"


def test_what_a_variable_holds_is_text_and_never_yaml(tmp_path: Path) -> None:
    assert load(tmp_path, "kafka: {topic_prefix: ${P}}", {"P": "007"}).kafka.topic_prefix == "007"
    assert load(tmp_path, "http: {port: ${P}}", {"P": "81"}).http.port == 81
    assert only(refused(tmp_path, "http: ${H}", {"H": "{port: 81}"})).path == "http"
    assert load(tmp_path, "kafka: {topic_prefix: ${P}}", {"P": ""}).kafka.topic_prefix == ""


def test_a_doubled_dollar_stands_for_itself(tmp_path: Path) -> None:
    rule = load(tmp_path, "rules: [{name: r, handler: m:f, reason: 'a $${B} $5 $'}]").rules[0]
    assert rule.reason == "a ${B} $5 $"


def test_a_missing_variable_is_named_with_its_key_and_nothing_follows_from_it(tmp_path: Path) -> None:
    text = ACCOUNT.replace("api-key", "${KEY}").replace("webhook-secret", "${SECRET}-${SECRET}")
    error = refused(tmp_path, text)
    assert [(p.line, p.path, p.reason) for p in error.problems] == [
        (5, "accounts.acme-ringg.api_key", "the environment variable KEY is not set"),
        (6, "accounts.acme-ringg.webhook.auth.secret", "the environment variable SECRET is not set"),
    ]


def test_an_empty_variable_is_an_empty_secret(tmp_path: Path) -> None:
    error = refused(tmp_path, ACCOUNT.replace("api-key", "${KEY}"), {"KEY": ""})
    assert "empty" in only(error).reason


@pytest.mark.parametrize("text", ["${A-b}", "${}", "${A:-b}", "${1A}", "${A", "x${ A }"])
def test_what_only_looks_like_a_variable_is_refused(tmp_path: Path, text: str) -> None:
    problem = only(refused(tmp_path, f"data_dir: '{text}'", {"A": "1"}))
    assert (problem.line, problem.path) == (1, "data_dir")
    assert "$${" in problem.remedy


def test_a_key_written_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    problem = only(refused(tmp_path, "http:\n  port: 1\n  host: localhost\n  port: 2\n"))
    assert (problem.line, problem.path) == (4, "http.port")
    assert "line 2" in problem.reason


def test_only_what_json_has_is_more_than_text(tmp_path: Path) -> None:
    text = (
        "rules: [{name: r, handler: m:f, params: {a: off, b: 010, c: 1:30, d: 2024-01-01, e: +1415, f: 1e3, g: yes}}]"
    )
    params = load(tmp_path, text).rules[0].params
    assert params == {"a": "off", "b": "010", "c": "1:30", "d": "2024-01-01", "e": "+1415", "f": 1000.0, "g": "yes"}
    text = "rules: [{name: r, handler: m:f, params: {1: true, b: null, c: -5, d: 0.5, e: '5', f: [1, {g: ~}]}}]"
    assert load(tmp_path, text).rules[0].params == {
        "1": True,
        "b": None,
        "c": -5,
        "d": 0.5,
        "e": "5",
        "f": [1, {"g": None}],
    }


def test_a_number_where_text_belongs_is_refused_and_not_guessed(tmp_path: Path) -> None:
    assert only(refused(tmp_path, "protected: {campaigns: [0123, 4711]}")).path == "protected.campaigns[1]"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("http: {port: 1\nrules: []", 2, "is not YAML"),
        ("http:\n\tport: 1", 2, "is not YAML"),
        ("api_key: @secret", 1, "is not YAML"),
        ("api_key: *secretalias", 1, "is not YAML"),
        ("a: 1\n---\nb: 2", 2, "is not YAML"),
        ("[" * 5000, None, "nested too deeply"),
        ("a: \x07", None, "control characters"),
        ("- a", None, "is not a mapping"),
        ("text", None, "is not a mapping"),
        ("rules: &a [*a]", 1, "holds itself"),
        ("data_dir: !secret x", 1, "tags"),
        ("data_dir: !!python/object:os.system x", 1, "tags"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    error = refused(tmp_path, text)
    assert (error.problems[0].line, reason in error.problems[0].reason) == (line, True)
    assert "secret" not in str(error)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"data_dir: \xe9")
    for name, reason in (("absent", "No such file"), (".", "directory"), ("latin", "UTF-8")):
        with pytest.raises(ConfigurationError, match=reason):
            load_settings(tmp_path / name, {})


def test_aliases_are_read(tmp_path: Path) -> None:
    text = "limits: {per_rule: &small {calls: 5}, per_account: *small}"
    limits = load(tmp_path, text).limits
    assert limits.per_rule == limits.per_account


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CALLBREAKER__HTTP__PORT", "81", {"http": {"port": 81}}),
        ("callbreaker__Http__port", "81", {"http": {"port": 81}}),
        ("CALLBREAKER__HTTP", "{port: 81}", {"http": {"port": 81}}),
        ("CALLBREAKER__DATA_DIR", "12", {"data_dir": "12"}),
        ("CALLBREAKER__KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2", {"kafka": {"bootstrap_servers": "a:1,b:2"}}),
        ("CALLBREAKER__KAFKA__BOOTSTRAP_SERVERS", "", {}),
        ("CALLBREAKER__KAFKA__BOOTSTRAP_SERVERS", "null", {}),
        ("CALLBREAKER__KAFKA__PARTITIONS__CALL_EVENTS", "3", {"kafka": {"partitions": {"call-events": 3}}}),
        ("CALLBREAKER__PROTECTED__CAMPAIGNS", "[a, b]", {"protected": {"campaigns": ["a", "b"]}}),
        ("CALLBREAKER__LIMITS__PER_ACCOUNT__WITHIN", "2h", {"limits": {"per_account": {"within": "2h"}}}),
        ("CALLBREAKER_TOKEN", "x", {}),
        ("CALLBREAKER_URL", "x", {}),
    ],
)
def test_an_override_says_what_a_file_would(name: str, value: str, expected: Any) -> None:
    assert load_settings(None, {name: value}) == Settings.model_validate(expected)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("RATE_LIMIT__BURST", "9", lambda account: account.rate_limit.burst == 9),
        ("API_KEY", "12345", lambda account: account.api_key.get_secret_value() == "12345"),
        ("API_KEY", "[a: *b", lambda account: account.api_key.get_secret_value() == "[a: *b"),
        ("RECONCILE__EVERY", "off", lambda account: account.reconcile.every is None),
        ("RECONCILE", "off", lambda account: account.reconcile.every is None),
        ("WEBHOOK__FIELDS__CAMPAIGN_ID", "a.b", lambda account: account.webhook.fields == {"campaign_id": "a.b"}),
        ("WEBHOOK__AUTH__SECRET", "12345678", lambda account: _secrets(account) == ["12345678"]),
        (
            "WEBHOOK__AUTH__SECRETS",
            "[abcdefgh, ijklmnop]",
            lambda account: _secrets(account) == ["abcdefgh", "ijklmnop"],
        ),
        ("WEBHOOK__AUTH", "none", lambda account: account.webhook.auth.type == "none"),
    ],
)
def test_an_account_is_found_by_its_name_with_underscores(tmp_path: Path, name: str, value: str, shown: Any) -> None:
    settings = load(tmp_path, ACCOUNT, {f"CALLBREAKER__ACCOUNTS__ACME_RINGG__{name}": value})
    assert shown(settings.accounts["acme-ringg"])


def _secrets(account: Any) -> list[str]:
    return [secret.get_secret_value() for secret in account.webhook.auth.secrets]


def test_rules_and_operators_are_found_by_their_names(tmp_path: Path) -> None:
    text = """
rules: [{name: a, handler: m:f}, {name: opt-out, handler: m:f, params: {n: 1}}]
operators: [{name: ops, role: viewer, token: "${T}"}]
"""
    environ = {
        "CALLBREAKER__RULES__OPT_OUT__MODE": "enforce",
        "CALLBREAKER__RULES__OPT_OUT__PARAMS__N": "2",
        "CALLBREAKER__OPERATORS__OPS__TOKEN": "token-of-ops",
    }
    settings = load(tmp_path, text, environ)
    assert [(rule.mode.value, rule.params) for rule in settings.rules] == [("shadow", {}), ("enforce", {"n": 2})]
    assert settings.operators[0].token.get_secret_value() == "token-of-ops"


def test_a_section_is_overridden_before_a_key_in_it() -> None:
    environ = {"CALLBREAKER__HTTP__PORT": "81", "CALLBREAKER__HTTP": "{port: 1, workers: 2}"}
    http = load_settings(None, environ).http
    assert (http.port, http.workers) == (81, 2)


def test_a_missing_variable_does_not_matter_where_an_override_stands(tmp_path: Path) -> None:
    environ = {"CALLBREAKER__ACCOUNTS__ACME_RINGG__API_KEY": "overridden"}
    settings = load(tmp_path, ACCOUNT.replace("api-key", "${KEY}"), environ)
    assert settings.accounts["acme-ringg"].api_key.get_secret_value() == "overridden"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("CALLBREAKER__HTTP__PROT", "1", "did you mean CALLBREAKER__HTTP__PORT?"),
        ("CALLBREAKER__ACCOUNTS__ACME_RING__API_KEY", "1", "did you mean CALLBREAKER__ACCOUNTS__ACME_RINGG?"),
        ("CALLBREAKER__ACCOUNTS__ACME_RINGG__NAME", "x", "after CALLBREAKER__ACCOUNTS__ACME_RINGG__ there can be"),
        ("CALLBREAKER__ZZZ", "1", "after CALLBREAKER__ there can be ACCOUNTS"),
        ("CALLBREAKER__", "1", "after CALLBREAKER__ there can be ACCOUNTS"),
        ("CALLBREAKER__HTTP__PORT__X", "1", "there is nothing below http.port"),
        ("CALLBREAKER__RULES__X__MODE", "enforce", "there is nothing below rules"),
    ],
)
def test_an_override_that_matches_no_key_is_refused_by_its_name(
    tmp_path: Path, name: str, value: str, remedy: str
) -> None:
    problem = only(refused(tmp_path, ACCOUNT, {name: value}))
    assert (problem.file, problem.line) == (name, None)
    assert problem.remedy.startswith(remedy)


def test_a_wrong_value_of_an_override_is_reported_with_its_variable(tmp_path: Path) -> None:
    problem = only(refused(tmp_path, "http: {port: 80}", {"CALLBREAKER__HTTP__PORT": "http"}))
    assert (problem.file, problem.line, problem.path) == ("CALLBREAKER__HTTP__PORT", None, "http.port")
    problem = only(refused(tmp_path, "", {"CALLBREAKER__HTTP": "{port: "}))
    assert problem.file == "CALLBREAKER__HTTP"


def test_an_override_below_a_single_value_is_refused(tmp_path: Path) -> None:
    problem = only(
        refused(tmp_path, ACCOUNT + "    reconcile: off", {"CALLBREAKER__ACCOUNTS__ACME_RINGG__RECONCILE__EVERY": "5s"})
    )
    assert "needs a mapping" in problem.reason


def test_two_variables_for_one_key_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="says the same key"):
        load_settings(None, {"CALLBREAKER__HTTP__PORT": "1", "callbreaker__http__port": "2"})


@given(st.data())
def test_no_secret_is_ever_in_a_message(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Put the same secret, plain, by variable or by override, in place of any value of a whole configuration."""
    secret = "hunter2-🔑" if data.draw(st.booleans()) else "hunter2 */x"
    text = """
accounts:
  a: {provider: ringg, api_key: key-of-a, webhook: {auth: {type: header, name: X-A, secret: secret-a}}}
  b: {provider: bland, base_url: https://b.example, api_key: key-of-b, webhook: {auth: none}}
rules:
  - {name: r, when: x, stop: {scope: call, hold: 5m}, over: {scope: agent, window: 5m}, on_error: skip}
limits: {per_rule: {calls: 5, share: 0.1, within: 5m}}
protected: {campaigns: [c], numbers: [+918882876897]}
kafka: {bootstrap_servers: k:1, security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, password: p}}
http: {host: 0.0.0.0, port: 80, max_body: 1KiB}
operators: [{name: ops, role: viewer, token: ops-token}]
"""
    values = list(re.finditer(r"(?<=: )[\w+.:/-]+(?=[,}\]])", text))
    match = data.draw(st.sampled_from(values))
    plain = data.draw(st.booleans())
    written = f'"{secret}"' if plain else "${S}"
    path = tmp_path_factory.getbasetemp() / f"leak-{os.getpid()}.yaml"
    path.write_text(text[: match.start()] + written + text[match.end() :])
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {"S": secret, "CALLBREAKER__HTTP__WORKERS": secret, "CALLBREAKER__NO__SUCH": secret})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.problems)
    assert caught.value.__cause__ is None
