"""The figures that the page and the terminal show of the whole installation."""

import time
from collections.abc import Callable
from typing import Any

from consumer.console.figures import Figures
from consumer.console.ledger_view import LedgerView
from consumer.kafka.progress import together
from consumer.service.host import Host


class Overview:
    """``ledger`` and ``figures`` are the console's, None where this process has none."""

    def __init__(self, host: Host, *, kafka: dict[str, Any], webhooks: Callable[[], int | None]) -> None:
        """Show what ``host`` runs; ``kafka`` is shown as it is, ``webhooks`` counts those taken, None where none are."""
        self._host = host
        self._kafka = kafka
        self.webhooks = webhooks
        self.ledger: LedgerView | None = None
        self.figures: Figures | None = None

    def now(self) -> dict[str, Any]:
        """Give the figures; null is what only other processes know."""
        if self.figures:
            self.figures.look()
        known, waiting = (self.figures.counts() if self.figures else None) or (None, None)
        elsewhere = self.figures.reading_elsewhere() if self.figures else ()
        verdicts = self._host.verdicts()
        return {
            "now": time.time(),
            "ready": all(verdict.ok for verdict in verdicts),
            "checks": [{"name": v.name, "ok": v.ok, "reason": v.reason} for v in verdicts],
            "kafka": self._kafka,
            "webhooks": self.webhooks(),
            "calls": known,
            "waiting": waiting,
            "terminations": self.ledger.ledger.totals() if self.ledger else {},
            "reading_back": [progress.as_json() for progress in together([*self._host.reading_back(), *elsewhere])],
        }
