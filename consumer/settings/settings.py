"""The configuration: what may be said, its defaults, and what contradicts itself.

``load_settings`` reads ``callbreaker.yaml`` and the environment; ``docs/configuration.md`` lists every key.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from consumer.model.accounts import Account, NoAuth, Section, is_loopback
from consumer.model.refusals import RefusedError, refuse_all
from consumer.settings.checks import checked
from consumer.settings.file import Document, read_document
from consumer.settings.notify import NotifySettings
from consumer.settings.overrides import as_variable, override
from consumer.settings.rules import (
    LimitsSettings,
    ProtectedSettings,
    RuleSettings,
)
from consumer.settings.service import CallsSettings, HttpSettings, KafkaSettings, Operator

KNOWN_PROVIDERS = ("ringg", "revenueable", "bland", "sonarly", "vapi")


class Settings(Section):
    """The whole configuration. The empty one is valid: no accounts, embedded Kafka, loopback."""

    accounts: dict[str, Account] = Field(default={})
    rules: tuple[RuleSettings, ...] = ()
    limits: LimitsSettings = LimitsSettings()
    protected: ProtectedSettings = ProtectedSettings()
    notify: NotifySettings = NotifySettings()
    calls: CallsSettings = CallsSettings()
    kafka: KafkaSettings = KafkaSettings()
    http: HttpSettings = HttpSettings()
    operators: tuple[Operator, ...] = ()
    data_dir: Path = Path(".callbreaker")

    @field_validator("accounts", mode="before")
    @classmethod
    def _name_from_key(cls, accounts: Any) -> Any:
        if not isinstance(accounts, dict):
            return accounts
        return {
            key: {**value, "name": value.get("name") or key} if isinstance(value, dict) else value
            for key, value in accounts.items()
        }

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> Self:
        context = info.context or {}
        refuse_all(
            (
                *_misnamed(self.accounts),
                *_shared_credentials(self.accounts),
                *_shared_signal_secrets(self.accounts, self.rules),
                *repeated_names(self.rules),
                *_operators(self.operators),
                *_open_doors(self, operators_known="operators" not in context.get("broken", ())),
            )
        )
        return self


def _misnamed(accounts: Mapping[str, Account]) -> Iterator[RefusedError]:
    for name, account in accounts.items():
        if account.name != name:
            yield RefusedError("an account's name is its key", "remove `name`", "accounts", name, "name")


def _shared_credentials(accounts: Mapping[str, Account]) -> Iterator[RefusedError]:
    secrets: dict[str, str] = {}
    api_keys: dict[tuple[str, str], str] = {}
    for name, account in accounts.items():
        auth = account.webhook.auth
        for secret in () if isinstance(auth, NoAuth) else auth.secrets:
            other = secrets.setdefault(secret.get_secret_value(), name)
            if other != name:
                yield RefusedError(
                    f"{other} has the same webhook secret, so whoever knows it can post events of both accounts",
                    "give each account a secret of its own",
                    *("accounts", name, "webhook", "auth"),
                )
        other = api_keys.setdefault((account.provider, account.api_key.get_secret_value()), name)
        if other != name:
            yield RefusedError(
                f"{other} has the same provider and API key, so both would spend one rate limit unknowingly",
                "make them one account, or give each its own key",
                *("accounts", name, "api_key"),
            )


def _shared_signal_secrets(accounts: Mapping[str, Account], rules: tuple[RuleSettings, ...]) -> Iterator[RefusedError]:
    auths = [account.webhook.auth for account in accounts.values()]
    known = {secret.get_secret_value() for auth in auths if not isinstance(auth, NoAuth) for secret in auth.secrets}
    for index, rule in enumerate(rules):
        auth = rule.signal.auth if rule.signal else None
        own = set() if auth is None or isinstance(auth, NoAuth) else {one.get_secret_value() for one in auth.secrets}
        if own & known:
            yield RefusedError(
                "an account or another rule has the same secret, so who may post the one may post the other",
                "give each rule that takes signals a secret of its own",
                *("rules", index, "signal", "auth"),
            )
        known |= own


_BUT_FOR = ", or one that differs only in case or in - and _"


def repeated_names(rules: tuple[RuleSettings, ...]) -> Iterator[RefusedError]:
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if as_variable(rule.name) in seen:
            yield RefusedError(f"another rule has the same name{_BUT_FOR}", "give each its own", "rules", index, "name")
        seen.add(as_variable(rule.name))


def _operators(operators: tuple[Operator, ...]) -> Iterator[RefusedError]:
    names: set[str] = set()
    tokens: set[str] = set()
    for index, operator in enumerate(operators):
        token = operator.token.get_secret_value()
        if as_variable(operator.name) in names:
            yield RefusedError(
                f"another operator has the same name{_BUT_FOR}", "give each its own", "operators", index, "name"
            )
        if token in tokens:
            yield RefusedError(
                "another operator has the same token, so nobody could say who stopped what",
                "give each operator a token of its own",
                *("operators", index, "token"),
            )
        names.add(as_variable(operator.name))
        tokens.add(token)


def _open_doors(settings: Settings, *, operators_known: bool) -> Iterator[RefusedError]:
    if is_loopback(settings.http.host):
        return
    if operators_known and not settings.operators:
        yield RefusedError(
            "this address is reachable from elsewhere, and no operator is configured",
            "add `operators` with a token each, or listen on 127.0.0.1",
            *("http", "host"),
        )
    for name, account in settings.accounts.items():
        auth = account.webhook.auth
        if isinstance(auth, NoAuth) and not auth.acknowledged:
            yield RefusedError(
                "http.host is reachable from elsewhere, so anybody could post events of this account",
                "configure an authentication, or say it twice: `auth: {type: none, acknowledged: true}`",
                *("accounts", name, "webhook", "auth"),
            )
    for index, rule in enumerate(settings.rules):
        if rule.signal and isinstance(rule.signal.auth, NoAuth) and not rule.signal.auth.acknowledged:
            yield RefusedError(
                "http.host is reachable from elsewhere, so anybody could have calls stopped by this rule",
                "configure an authentication, or say it twice: `auth: {type: none, acknowledged: true}`",
                *("rules", index, "signal", "auth"),
            )


class _RulesFile(Section):
    rules: tuple[RuleSettings, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_all(repeated_names(self.rules))
        return self


def load_settings(
    path: Path | None, environ: Mapping[str, str], known_providers: Collection[str] = KNOWN_PROVIDERS
) -> Settings:
    """Read a configuration file (or none) with its variables and overrides from ``environ``.

    Raises ``ConfigurationError`` with everything that is wrong in it.
    """
    document = Document() if path is None else read_document(path, environ)
    document = override(document, Settings, environ)
    return checked(document, Settings, {"known_providers": known_providers})


def load_rules(path: Path, environ: Mapping[str, str]) -> tuple[RuleSettings, ...]:
    """Read the rules of a file that has only ``rules:``, or those of a whole configuration and nothing else of it.

    Overrides of rules that the file does not have are left alone: they are meant for the service's own configuration.
    Raises ``ConfigurationError`` with everything that is wrong in the rules.
    """
    document = read_document(path, environ, only="rules")
    document = override(document, _RulesFile, environ, ignore_unknown=True)
    return checked(document, _RulesFile, {}).rules


def masked(settings: Settings) -> dict[str, Any]:
    """Everything that is in effect, defaults included, as a configuration file would say it; JSON values only.

    Secrets are ``••••`` with a short fingerprint if they are long, phone numbers their last four digits.
    """
    return settings.model_dump(mode="json")
