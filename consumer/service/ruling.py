"""What is in force of what may change while the service runs: rules, limits, what is protected.

A change is a record in ``stop-orders``. Every process takes it over where it reads it, or keeps what it has, loudly.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from consumer import logs
from consumer.ingest.signals import Signalled
from consumer.kafka.order_feed import OrderFeed
from consumer.model.controls import RulesChanged
from consumer.model.limits import Limits
from consumer.model.protected import Protected
from consumer.model.rule_set import RuleSet
from consumer.model.rules import RuleError
from consumer.service import control_metrics
from consumer.service.assembly import limits_of, protected_of
from consumer.service.assembly_rules import rules_of
from consumer.service.assembly_signals import signalled_of
from consumer.settings import ConfigurationError, Settings
from consumer.settings.parts import filled

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is in force. ``hash`` tells it from others; it is empty for settings that are of no file."""

    rules: RuleSet
    limits: Limits
    protected: Protected
    hash: str = ""
    version: int = 0
    signalled: tuple[Signalled, ...] = ()


def ruling_of(settings: Settings, hash_: str = "", version: int = 0) -> Ruling:
    """Compile what is configured; raises ``RuleError``."""
    told = limits_of(settings.limits), protected_of(settings), hash_, version
    return Ruling(rules_of(settings), *told, signalled_of(settings.rules))


class InForce:
    """What this process has in force, and who has to know when that changes."""

    def __init__(self, settings: Settings, feed: OrderFeed, hash_: str = "") -> None:
        self.now = ruling_of(settings, hash_)
        self.trouble: str | None = None
        """Why the last change was not taken over here."""
        self._settings = settings
        self._feed = feed
        self._refused = ""
        self._listeners: list[Callable[[Ruling], None]] = []

    def on_taken(self, listener: Callable[[Ruling], None]) -> None:
        """Be told (synchronously) what is in force from here on."""
        self._listeners.append(listener)

    def follow(self) -> None:
        """Take over what was read last, unless that is in force or was refused already; to be called after each change."""
        told = self._feed.controls.rules
        if told is None or told.hash == self._refused:
            return
        if told.hash == self.now.hash:
            self._note(replace(self.now, version=told.version))
            return
        try:
            ruling = self._compiled(told)
        except (ConfigurationError, RuleError) as error:
            self._refused, self.trouble = told.hash, str(error)
            logger.error("version %d of the rules is not taken over, the old ones stay: %s", told.version, error)
            return
        before = self.now
        self._note(ruling)
        logger.warning(
            "version %d of the rules (%s) is in force from here on, stop-orders before %d: %s",
            *(ruling.version, ruling.hash, self._feed.next_offset, _difference(before.rules, ruling.rules)),
        )
        for listener in self._listeners:
            listener(ruling)

    def _note(self, ruling: Ruling) -> None:
        if ruling != self.now:
            control_metrics.show_rules(ruling.hash, ruling.version)
        self.now = ruling
        self._refused, self.trouble = "", None

    def _compiled(self, told: RulesChanged) -> Ruling:
        parts = filled(told.parts, os.environ)
        logs.MASK.never_show(logs.secrets_in(parts))
        changed = {"rules": parts.rules, "limits": parts.limits, "protected": parts.protected}
        return ruling_of(self._settings.model_copy(update=changed), told.hash, told.version)


def _difference(before: RuleSet, after: RuleSet) -> str:
    was, now = ({rule.name: (rule.hash, rule.version, rule.mode) for rule in rules} for rules in (before, after))
    said = {
        "new": sorted(now.keys() - was.keys()),
        "gone": sorted(was.keys() - now.keys()),
        "changed": sorted(name for name in now.keys() & was.keys() if now[name] != was[name]),
    }
    return ", ".join(f"{what} {' '.join(names)}" for what, names in said.items() if names) or "the same rules"
