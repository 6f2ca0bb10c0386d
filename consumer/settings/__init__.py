"""The configuration: its file, its checks, and what it says."""

from consumer.settings.problems import ConfigurationError, Problem
from consumer.settings.rules import Limit, LimitsSettings, RuleSettings
from consumer.settings.service import HttpSettings
from consumer.settings.settings import KNOWN_PROVIDERS, Settings, load_rules, load_settings, masked

__all__ = [
    "KNOWN_PROVIDERS",
    "ConfigurationError",
    "HttpSettings",
    "Limit",
    "LimitsSettings",
    "Problem",
    "RuleSettings",
    "Settings",
    "load_rules",
    "load_settings",
    "masked",
]
