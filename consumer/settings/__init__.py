"""The configuration: its file, its checks, and what it says."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from consumer.settings.problems import ConfigurationError, Problem
    from consumer.settings.rules import Limit, LimitsSettings, RuleSettings
    from consumer.settings.service import HttpSettings
    from consumer.settings.settings import KNOWN_PROVIDERS, Settings, load_rules, load_settings, masked
else:
    _HOMES = {
        "problems": ("ConfigurationError", "Problem"),
        "rules": ("Limit", "LimitsSettings", "RuleSettings"),
        "service": ("HttpSettings",),
        "settings": ("KNOWN_PROVIDERS", "Settings", "load_rules", "load_settings", "masked"),
    }

    def __getattr__(name: str) -> Any:
        """Import a name when it is first asked for: a client command reads a file and needs no models."""
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{home}"), name)
