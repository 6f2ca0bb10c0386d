"""How long rules may take: one that exceeds its budget several times in a row is not asked any more in this process."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from consumer.model.controls import Alert
from consumer.model.rules import Rule

OFFENCES = 3
PREFIX = "slow-rule/"


class Patience:
    """Measures rules while they are asked. ``given_up`` says of which rules we have had enough, and why."""

    def __init__(self, node: str = "", clock: Callable[[], float] = perf_counter) -> None:
        self._node = node
        self._clock = clock
        self._offences: dict[str, int] = {}
        self._said: set[tuple[str, bool]] = set()
        self.given_up: dict[str, str] = {}

    def ask(self, rule: Rule, evaluate: Callable[..., Any], *values: Any) -> Any:
        """Ask a rule, and note how long it took; raises what it raises."""
        began = self._clock()
        try:
            return evaluate(*values)
        finally:
            took = self._clock() - began
            if took > rule.budget_seconds:
                self._note(rule, took)
            elif self._offences:
                self._offences.pop(rule.name, None)

    def alerts(self, known: Mapping[str, Alert], now: float) -> list[Alert]:
        """The alerts about rules of this process that are not what is known of them: to be raised, or over; each once."""
        if not self.given_up and not known:
            return []
        ours = f"/{self._node}"
        wanted = {f"{PREFIX}{rule}{ours}": why for rule, why in self.given_up.items()}
        over = [name for name in known if name.startswith(PREFIX) and name.endswith(ours) and name not in wanted]
        raised = [Alert(name, why, now, by=self._node) for name, why in wanted.items() if name not in known]
        changed = raised + [Alert(name, known[name].text, known[name].since, active=False) for name in over]
        news = [alert for alert in changed if (alert.name, alert.active) not in self._said]
        self._said.update((alert.name, alert.active) for alert in news)
        return news

    def _note(self, rule: Rule, took: float) -> None:
        self._offences[rule.name] = self._offences.get(rule.name, 0) + 1
        if self._offences[rule.name] >= OFFENCES:
            long, allowed = took * 1_000, rule.budget_seconds * 1_000
            self.given_up[rule.name] = (
                f"rule {rule.name} took {long:.0f} ms, more than its budget of {allowed:.0f} ms, {OFFENCES} times in a row: "
                "this process does not ask it any more; make it faster and start again"
            )
