"""Campaigns of which nothing is heard though their calls wait: alerts, raised and taken back. Pure, but for ``now``."""

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from consumer.model.controls import Alert
from consumer.model.over import ScopeName
from consumer.model.rules import Rule, Silence, SilenceRule
from consumer.model.totals import MINUTE_SECONDS

logger = logging.getLogger(__name__)

PREFIX = "silent/"
LOOK_EVERY_SECONDS = 10.0
FORGET_SECONDS = 86_400.0


class OpenCalls(Protocol):
    """Where it is known how many calls wait."""

    def waiting(self, scope: str) -> int:
        """How many calls of ``account/kind/name`` wait now."""
        ...


class SilenceWatch:
    """Watches the campaigns of one partition. Silence is counted from when the watch began at the earliest."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._last_heard: dict[ScopeName, float] = {}
        self._began: float | None = None
        self._looked_at = float("-inf")
        self.take(rules)

    def take(self, rules: Iterable[Rule]) -> None:
        """Go on with other rules."""
        self._rules = tuple(rule for rule in rules if isinstance(rule, SilenceRule))

    def heard(self, scope: ScopeName, minute: int) -> None:
        """Learn that something happened in a campaign in this minute."""
        self._last_heard[scope] = max(self._last_heard.get(scope, 0.0), float(minute + MINUTE_SECONDS))

    def look(self, now: float, calls: OpenCalls, known: Mapping[str, Alert]) -> list[Alert]:
        """Give the alerts to be raised or taken back, now and then; ``known`` are the active ones by name."""
        self._began = now if self._began is None else self._began
        if now - self._looked_at < LOOK_EVERY_SECONDS:
            return []
        self._looked_at = now
        alerts: list[Alert] = []
        for scope in list(self._last_heard):
            said = self._said_of(scope, now, calls)
            prefix = f"{PREFIX}{scope[0]}/{scope[2]}/"
            alerts += [Alert(name, text, now) for name, text in said.items() if name not in known]
            over = [alert for name, alert in known.items() if name.startswith(prefix) and name not in said]
            alerts += [Alert(alert.name, alert.text, alert.since, active=False) for alert in over]
        return alerts

    def _said_of(self, scope: ScopeName, now: float, calls: OpenCalls) -> dict[str, str]:
        account, _, campaign = scope
        silent = now - max(self._last_heard[scope], self._began or now)
        if silent < MINUTE_SECONDS:
            return {}
        waiting = calls.waiting("/".join(scope))
        if waiting <= 0 and silent > FORGET_SECONDS:
            del self._last_heard[scope]
        if waiting <= 0:
            return {}
        said = {}
        for rule in self._rules:
            try:
                text = rule.evaluate(Silence(account, campaign, silent, waiting))
            except Exception:
                logger.exception("rule %s failed on a silence", rule.name)
                continue
            if text:
                said[f"{PREFIX}{account}/{campaign}/{rule.name}"] = text
        return said
