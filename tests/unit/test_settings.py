"""What a configuration means once it is read, and which ones contradict themselves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from consumer.model.accounts import (
    Account,
    BearerAuth,
    HeaderAuth,
    HmacAuth,
    NoAuth,
    StandardWebhooksAuth,
    WebhookSettings,
    is_loopback,
)
from consumer.model.orders import Mode, Reach
from consumer.model.scopes import ScopeKind
from consumer.settings import ConfigurationError, Problem, Settings, load_rules, load_settings, masked

EXAMPLE = Path(__file__).parents[2] / "callbreaker.example.yaml"
VARIABLES = {
    "RINGG_API_KEY": "ringg-api-key-0123456789",
    "RINGG_WEBHOOK_SECRET": "ringg-webhook-secret-0123",
    "REVENUEABLE_API_KEY": "revenueable-api-key-0123",
    "REVENUEABLE_WEBHOOK_SECRET": "revenueable-secret-0123",
    "OPS_TOKEN": "ops-token-0123456789",
}
AUTH = {"type": "bearer", "secret": "secret-of-a"}
ACCOUNT: dict[str, Any] = {"provider": "ringg", "api_key": "key-a", "webhook": {"auth": AUTH}}
OTHER = ACCOUNT | {"api_key": "key-b", "webhook": {"auth": AUTH | {"secret": "secret-of-b"}}}
OPERATOR = {"name": "ops", "role": "operator", "token": "ops-token"}
RULE = {"name": "r", "when": "true", "stop": {"scope": "call"}}
SIGNALLED = {"name": "qa", "handler": "manual", "signal": {"auth": {"type": "bearer", "secret": "a-qa-tools-secret"}}}


def load(folder: Path, content: Any, environ: Mapping[str, str] | None = None) -> Settings:
    path = folder / "callbreaker.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_settings(path, environ or {})


def problems(folder: Path, content: Any, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, content, environ)
    return caught.value.problems


def test_no_configuration_is_no_accounts_on_loopback_with_embedded_kafka() -> None:
    settings = load_settings(None, {"CALLBREAKER_URL": "http://x", "CALLBREAKER_TOKEN": "y"})
    assert settings == Settings()
    assert (settings.accounts, settings.rules, settings.operators) == ({}, (), ())
    assert settings.kafka.bootstrap_servers is None
    assert (settings.http.host, settings.http.port, settings.http.max_body) == ("127.0.0.1", 8080, 262_144)
    assert (settings.limits.per_rule.calls, settings.limits.per_rule.share, settings.limits.per_rule.within) == (
        (500, 0.10, 3600.0)
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "accounts:\nrules:\nkafka:\n", "{}"])
def test_an_empty_file_is_no_configuration(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == Settings()


def test_the_example_is_the_configuration_it_says() -> None:
    settings = load_settings(EXAMPLE, VARIABLES)
    ringg = settings.accounts["acme-ringg"]
    assert (ringg.name, ringg.provider, ringg.base_url) == ("acme-ringg", "ringg", None)
    assert ringg.api_key.get_secret_value() == "ringg-api-key-0123456789"
    assert isinstance(ringg.webhook.auth, HeaderAuth)
    assert ringg.webhook.auth.name == "X-Webhook-Secret"
    assert [secret.get_secret_value() for secret in ringg.webhook.auth.secrets] == ["ringg-webhook-secret-0123"]
    assert ringg.webhook.fields == {"campaign_id": "custom_args_values.campaign_id"}
    assert (ringg.batch.size, ringg.batch.linger, ringg.confirm_within, ringg.decision_ttl, ringg.reconcile.every) == (
        (100, 0.05, 120.0, 900.0, 60.0)
    )
    assert isinstance(settings.accounts["acme-revenueable"].webhook.auth, BearerAuth)
    opt_out, failing = settings.rules
    assert opt_out.stop is not None
    assert failing.stop is not None
    assert failing.over is not None
    assert (opt_out.mode, opt_out.stop.scope, opt_out.stop.hold) == (Mode.ENFORCE, ScopeKind.NUMBER, 2_592_000.0)
    assert (failing.over.window, failing.over.at_least, failing.stop.hold) == (600.0, 50, None)
    assert failing.stop.reach is Reach.KNOWN


def test_the_commented_parts_of_the_example_work_too(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    body = text[text.index("accounts:") :]
    lines = (line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in body.splitlines())
    content = "\n".join(lines).replace("bootstrap_servers: null", "bootstrap_servers: kafka-1:9092")
    names = ("BLAND_API_KEY", "BLAND_WEBHOOK_SECRET", "SONARLY_API_KEY", "SONARLY_ACCOUNT_GROUP_ID", "KAFKA_PASSWORD")
    settings = load(tmp_path, content.replace("  #\n", ""), VARIABLES | {name: f"{name}-value" for name in names})
    assert set(settings.accounts) == {"acme-ringg", "acme-revenueable", "acme-bland", "acme-sonarly"}
    assert settings.accounts["acme-sonarly"].reconcile.every is None
    assert settings.rules[2].mode is Mode.CANARY
    assert settings.kafka.security.username == "callbreaker"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"type": "header", "name": "X-S", "secret": "abcdefgh"}, HeaderAuth(name="X-S", secrets=("abcdefgh",))),
        ({"type": "bearer", "secrets": ["abcdefgh", "ijklmnop"]}, BearerAuth(secrets=("abcdefgh", "ijklmnop"))),
        (
            {"type": "hmac-sha256", "header": "X-Sig", "encoding": "base64", "secret": "abcdefgh", "prefix": "sha256="},
            HmacAuth(header="X-Sig", encoding="base64", secrets=("abcdefgh",), prefix="sha256="),
        ),
        (
            {"type": "standard-webhooks", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]},
            StandardWebhooksAuth(secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)),
        ),
        ("none", NoAuth()),
        ({"type": "none", "acknowledged": True}, NoAuth(acknowledged=True)),
    ],
)
def test_each_kind_of_webhook_authentication_is_read(auth: Any, expected: object) -> None:
    assert WebhookSettings(auth=auth).auth == expected


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "secrets": []},
        {"type": "bearer", "secret": ""},
        {"type": "bearer", "secret": None},
        {"type": "bearer", "secret": "1234567"},
        {"type": "bearer", "secret": "secret-with-newline\n"},
        {"type": "bearer", "secret": " leading-blank"},
        {"type": "bearer", "secret": "abcdefgh", "secrets": ["abcdefgh"]},
        {"type": "bearer"},
        {"type": "header", "name": "X S", "secret": "abcdefgh"},
        {"type": "header", "name": "", "secret": "abcdefgh"},
        {"type": "hmac-sha256", "header": "X", "encoding": "hexx", "secret": "abcdefgh"},
        {"type": "standard-webhooks", "secret": "whsec_not base64!"},
        {"type": "standard-webhooks", "secret": "whsec_QUJD"},
        {"type": "none", "secret": "abcdefgh"},
        {"type": "basic"},
        {},
        None,
    ],
)
def test_an_authentication_that_would_let_all_or_nobody_in_is_refused(auth: Any) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings(auth=auth)


@pytest.mark.parametrize(
    "url", ["https://prod-api.ringg.ai/ca/api/v0", "http://127.0.0.1:8090", "http://localhost:1/a", "http://[::1]:2"]
)
def test_a_base_url_is_https_or_on_loopback(url: str) -> None:
    assert Account(name="a", **ACCOUNT, base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://prod-api.ringg.ai",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "https://user:pass@x.ai",
        "https://user@x.ai",
        "https://x.ai/",
        "https://x.ai?a=b",
        "https://x.ai#f",
        "https://x.ai:port",
        "https://[::1",
        "https://",
        "ftp://x.ai",
        "x.ai",
        "https://x .ai",
        "",
    ],
)
def test_any_other_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Account(name="a", **ACCOUNT, base_url=url)


def test_only_addresses_of_this_machine_are_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "callbreaker", "localhost.example", "")))


@pytest.mark.parametrize("off", ["off", False, {"every": "off"}, {"every": False}])
def test_reconciling_can_be_off(off: Any) -> None:
    assert Account(name="a", **ACCOUNT, reconcile=off).reconcile.every is None


@pytest.mark.parametrize(
    ("scope", "hold"),
    [("call", 0.0), ("number", 2_592_000.0), ("number-in-campaign", 2_592_000.0), ("campaign", None), ("agent", None)],
)
def test_a_rules_hold_is_by_default_what_fits_its_scope(tmp_path: Path, scope: str, hold: float | None) -> None:
    (rule,) = load(tmp_path, {"rules": [RULE | {"stop": {"scope": scope}}]}).rules
    assert rule.stop is not None
    assert rule.stop.hold == hold
    assert rule.mode is Mode.SHADOW


@pytest.mark.parametrize(
    ("servers", "joined"),
    [("a:9092", "a:9092"), (["a:9092", "[::1]:9093"], "a:9092,[::1]:9093"), ("a.b-c:1,d:2", "a.b-c:1,d:2")],
)
def test_bootstrap_servers_are_a_text_or_a_list(tmp_path: Path, servers: Any, joined: str) -> None:
    assert load(tmp_path, {"kafka": {"bootstrap_servers": servers}}).kafka.bootstrap_servers == joined


def test_protected_numbers_are_normalised_as_those_of_calls_are(tmp_path: Path) -> None:
    settings = load(tmp_path, "protected: {numbers: [+91 98754-36897, '00918882876897']}")
    assert settings.protected.numbers == ("+919875436897", "+918882876897")


@pytest.mark.parametrize(
    ("content", "path", "reason"),
    [
        ({"accounts": {"a": ACCOUNT | {"batch": {"size": 101}}}}, "accounts.a.batch.size", "at most 100"),
        ({"accounts": {"a": ACCOUNT | {"batch": {"size": 0}}}}, "accounts.a.batch.size", "greater than or equal to 1"),
        ({"accounts": {"a": ACCOUNT | {"rate_limit": {"burst": 0}}}}, "accounts.a.rate_limit.burst", "equal to 1"),
        (
            {"accounts": {"a": ACCOUNT | {"rate_limit": {"requests_per_second": 0}}}},
            "accounts.a.rate_limit.requests_per_second",
            "greater than 0",
        ),
        ({"accounts": {"a": ACCOUNT | {"confirm_within": 120}}}, "accounts.a.confirm_within", "needs a unit"),
        (
            {"accounts": {"a": ACCOUNT | {"reconcile": {"every": "0s"}}}},
            "accounts.a.reconcile.every",
            "duration nor off",
        ),
        ({"accounts": {"a": ACCOUNT | {"provider": "rings"}}}, "accounts.a.provider", "no such provider"),
        ({"accounts": {"a": ACCOUNT | {"provider": "sonarly"}}}, "accounts.a.account_group_id", "account group"),
        ({"accounts": {"a": ACCOUNT | {"account_group_id": "x"}}}, "accounts.a.account_group_id", "only sonarly"),
        ({"accounts": {"a": ACCOUNT | {"api_key": ""}}}, "accounts.a.api_key", "empty"),
        ({"accounts": {"a": ACCOUNT | {"name": "b"}}}, "accounts.a.name", "is its key"),
        ({"accounts": {"A_1": ACCOUNT}}, "accounts.A_1", "form"),
        (
            {"accounts": {"a": OTHER, "b": OTHER | {"api_key": "key-c"}}},
            "accounts.b.webhook.auth",
            "same webhook secret",
        ),
        ({"accounts": {"a": ACCOUNT, "b": OTHER | {"api_key": "key-a"}}}, "accounts.b.api_key", "one rate limit"),
        ({"rules": [RULE | {"handler": "m:f"}]}, "rules[0]", "two rules in one"),
        ({"rules": [{"name": "r"}]}, "rules[0]", "no condition"),
        ({"rules": [{"name": "r", "when": "true"}]}, "rules[0]", "stops nothing"),
        ({"rules": [RULE | {"over": {"scope": "agent", "window": "1m"}}]}, "rules[0].stop.scope", "cannot name"),
        ({"rules": [RULE | {"over": {"scope": "account", "window": "1m"}}]}, "rules[0].stop.scope", "cannot name"),
        ({"rules": [RULE | {"measures": {"score": "event.cost"}}]}, "rules[0].measures", "over totals"),
        ({"rules": [RULE | {"signal": {"auth": "none"}}]}, "rules[0].signal", "no signal"),
        (
            {"rules": [RULE | {"throttle": {"matches": {"count": 5, "within": "1m", "of": 3}}}]},
            "rules[0].throttle.matches.of",
            "never be so many",
        ),
        (
            {"rules": [SIGNALLED, SIGNALLED | {"name": "other"}]},
            "rules[1].signal.auth",
            "may post the other",
        ),
        (
            {"operators": [OPERATOR], "http": {"host": "0.0.0.0"}, "rules": [SIGNALLED | {"signal": {"auth": "none"}}]},
            "rules[0].signal.auth",
            "anybody could have calls stopped",
        ),
        ({"rules": [RULE | {"budget": "0s"}]}, "rules[0].budget", "greater than 0"),
        ({"rules": [RULE | {"mode": "canary"}]}, "rules[0].mode", "without a share"),
        ({"rules": [RULE | {"mode": "canary", "canary": {}}]}, "rules[0].canary", "stops nothing"),
        ({"rules": [RULE | {"canary": {"share": 1.5}}]}, "rules[0].canary.share", "less than or equal to 1"),
        ({"rules": [RULE, RULE]}, "rules[1].name", "same name"),
        ({"rules": [RULE | {"name": "a-b"}, RULE | {"name": "A_b"}]}, "rules[1].name", "same name"),
        ({"protected": {"numbers": ["98754"]}}, "protected.numbers[0]", "E.164"),
        ({"http": {"host": "0.0.0.0"}}, "http.host", "no operator"),
        ({"http": {"port": 65536}}, "http.port", "65535"),
        ({"http": {"max_body": "12"}}, "http.max_body", "not a size"),
        ({"operators": [OPERATOR, OPERATOR | {"name": "two"}]}, "operators[1].token", "same token"),
        ({"operators": [OPERATOR, OPERATOR | {"token": "other-token"}]}, "operators[1].name", "same name"),
        ({"operators": [OPERATOR | {"token": "short"}]}, "operators[0].token", "shorter than 8"),
        ({"kafka": {"bootstrap_servers": "kafka"}}, "kafka.bootstrap_servers", "form"),
        ({"kafka": {"bootstrap_servers": ""}}, "kafka.bootstrap_servers", "form"),
        ({"kafka": {"replication_factor": 0}}, "kafka.replication_factor", "equal to 1"),
        ({"kafka": {"compression": "brotli"}}, "kafka.compression", "possible values"),
        ({"kafka": {"security": {"protocol": "SSL"}}}, "kafka.security", "embedded Kafka"),
        ({"kafka": {"partitions": {"call-event": 3}}}, "kafka.partitions.call-event", "no such key"),
        ({"kafka": {"security": {"protocol": "SSL", "key_file": "k"}}}, "kafka.security.key_file", "cert_file"),
        ({"kafka": {"security": {"ca_file": "k"}}}, "kafka.security.ca_file", "not used by PLAINTEXT"),
        ({"kafka": {"security": {"username": "u"}}}, "kafka.security.username", "not used by PLAINTEXT"),
        ({"limits": 5}, "limits", "not a mapping"),
        ({"rules": {"a": 1}}, "rules", "not a list"),
    ],
)
def test_a_contradiction_is_refused_where_it_stands(tmp_path: Path, content: Any, path: str, reason: str) -> None:
    (problem,) = problems(tmp_path, content)
    assert problem.path == path
    assert reason in problem.reason
    assert problem.remedy
    assert problem.file == str(tmp_path / "callbreaker.yaml")
    assert problem.line is not None


def test_sasl_without_its_parts_is_refused_part_by_part(tmp_path: Path) -> None:
    found = problems(tmp_path, {"kafka": {"bootstrap_servers": "k:1", "security": {"protocol": "SASL_SSL"}}})
    assert [p.path.rpartition(".")[2] for p in found] == ["mechanism", "username", "password"]


def test_no_authentication_on_a_reachable_address_must_be_said_twice(tmp_path: Path) -> None:
    def content(host: str, auth: Any) -> Any:
        account = ACCOUNT | {"webhook": {"auth": auth}}
        return {"http": {"host": host}, "operators": [OPERATOR], "accounts": {"a": account}}

    assert load(tmp_path, content("127.0.0.1", "none"))
    assert load(tmp_path, content("0.0.0.0", {"type": "none", "acknowledged": True}))
    (problem,) = problems(tmp_path, content("0.0.0.0", "none"))
    assert problem.path == "accounts.a.webhook.auth"
    assert "acknowledged: true" in problem.remedy


def test_providers_are_those_that_are_known_to_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"accounts": {"a": ACCOUNT | {"provider": "mine"}}}))
    assert load_settings(path, {}, known_providers={"mine"}).accounts["a"].provider == "mine"


def test_masked_shows_everything_in_effect_and_no_secret(tmp_path: Path) -> None:
    content = {
        "accounts": {"a": ACCOUNT | {"api_key": "a-long-api-key-0123456789"}},
        "operators": [OPERATOR],
        "protected": {"numbers": ["+919875436897"]},
        "rules": [{"name": "qa", "handler": "m:f", "params": {"qa_secret": "params-secret", "limit": 3}}],
    }
    shown = masked(load(tmp_path, content))
    text = json.dumps(shown, ensure_ascii=False)
    for hidden in ("a-long-api-key", "secret-of-a", "ops-token", "params-secret", "+9198754"):
        assert hidden not in text
    assert shown["accounts"]["a"]["api_key"].startswith("•••• (sha256:")
    assert shown["accounts"]["a"]["webhook"]["auth"]["secrets"] == ["••••"]
    assert shown["accounts"]["a"]["batch"] == {"size": 100, "linger": "50ms"}
    assert shown["protected"]["numbers"] == ["•••6897"]
    assert shown["rules"][0]["params"] == {"qa_secret": "••••", "limit": 3}
    assert shown["http"]["max_body"] == "256KiB"


def test_masked_says_it_as_a_file_would(tmp_path: Path) -> None:
    settings = load_settings(EXAMPLE, VARIABLES)
    shown = masked(settings)
    secrets = iter(VARIABLES.values())
    for account in shown["accounts"].values():
        account["api_key"] = next(secrets)
        account["webhook"]["auth"]["secrets"] = [next(secrets)]
    shown["operators"][0]["token"] = next(secrets)
    assert load(tmp_path, json.loads(json.dumps(shown))) == settings


def test_rules_are_read_from_a_whole_configuration_without_its_secrets() -> None:
    assert [rule.name for rule in load_rules(EXAMPLE, {})] == ["opt-out", "failing-campaign"]


def test_rules_are_read_from_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [RULE]}))
    environ = {
        "CALLBREAKER__RULES__R__MODE": "enforce",
        "CALLBREAKER__RULES__X__MODE": "x",
        "CALLBREAKER__HTTP__PORT": "1",
    }
    (rule,) = load_rules(path, environ)
    assert rule.mode is Mode.ENFORCE


@pytest.mark.parametrize("text", ["", "rule: []\n", "rules: [{name: r}]\n", "rules: 5\n", "rules:\n"])
def test_a_rules_file_without_good_rules_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load_rules(path, {})
