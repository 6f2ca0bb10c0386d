"""What ``backtest`` and ``rules test`` start from: the rules of a file, and the configuration that they are tried in."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from consumer.backtest.course import Setting
from consumer.backtest.plan import Plan
from consumer.commands.configuration import is_whole, read_settings, with_rules_of
from consumer.commands.failures import USAGE, CommandError
from consumer.commands.options import configuration_file
from consumer.model.accounts import Account
from consumer.model.rule_set import RuleSet
from consumer.service.assembly import keeping_of, limits_of, protected_of, rules_of, topics_of
from consumer.settings import Settings
from handlers.providers.table import PROVIDERS

AccountOf = Callable[[str], Account | None]


def settings_of_trial(rules: Path, config: Path | None, *, provider: str | None) -> tuple[Settings, Settings]:
    """Give the settings with the rules of the file, and the settings as they are.

    The settings are those of ``config``, else of ``rules`` where that is a whole configuration, else of the configuration in
    this directory. With a ``provider`` there need not be any, so that no secret has to be set.

    Raises:
        ConfigurationError: everything that is wrong.

    """
    if config is None and provider is None:
        config = rules if is_whole(rules) else configuration_file(None)
    settings = Settings() if config is None else read_settings(config)
    return with_rules_of(rules, settings), settings


def plan_of_trial(settings: Settings, *, start: float | None = None) -> Plan:
    """Compile the rules, and put them where they are configured to be; ``start`` is when they begin to be asked (seconds)."""
    setting = Setting(
        protected_of(settings),
        keeping_of(settings, topics_of(settings)).forget_seconds,
        limits_of(settings.limits),
        {account.name: account.decision_ttl for account in settings.accounts.values()},
        float("-inf") if start is None else start,
    )
    return Plan(RuleSet.of(rules_of(settings)), setting)


def accounts_of_trial(settings: Settings, provider: str | None) -> AccountOf:
    """Give what finds the account of a name: the configuration's, else one at ``provider`` where that is named.

    Raises:
        CommandError: no such provider.

    """
    if provider is not None and provider not in PROVIDERS:
        raise CommandError(f"There is no provider {provider!r}; there are {', '.join(PROVIDERS)}.", USAGE)

    @cache
    def account_of(name: str) -> Account | None:
        known = settings.accounts.get(name)
        return known if known is not None or provider is None else _made_up(name, provider)

    return account_of


def _made_up(name: str, provider: str) -> Account | None:
    """Make an account that can read webhooks and do nothing else; None where nothing can have this name."""
    fields = {"name": name, "provider": provider, "api_key": "of-a-trial", "webhook": {"auth": {"type": "none"}}}
    if provider == "sonarly":
        fields["account_group_id"] = "of-a-trial"
    try:
        return Account.model_validate(fields)
    except ValidationError:
        return None
