"""The figures that the page and the terminal show of the whole installation."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumer.console.figures import Figures
from consumer.console.ledger_view import LedgerView
from consumer.kafka.metrics import bytes_on_disk
from consumer.kafka.progress import together
from consumer.service.host import Host

MEASURE_EVERY_SECONDS = 10.0
"""There may be hundreds of files."""


class Overview:
    """``ledger`` and ``figures`` are the console's, None where this process has none."""

    def __init__(self, host: Host, *, kafka: dict[str, Any], views: Path, webhooks: Callable[[], int | None]) -> None:
        """Show what ``host`` runs.

        ``kafka`` is shown as it is, ``views`` is the folder of this process's views, ``webhooks`` counts those taken, None
        where none are.
        """
        self._host = host
        self._kafka = kafka
        self._views = views
        self._measured_at = float("-inf")
        self._bytes = 0
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
            "views_bytes": self._views_bytes(),
            "reading_back": [progress.as_json() for progress in together([*self._host.reading_back(), *elsewhere])],
        }

    def _views_bytes(self) -> int:
        """What the views of this process take on the disk."""
        if time.monotonic() - self._measured_at >= MEASURE_EVERY_SECONDS:
            self._bytes, self._measured_at = bytes_on_disk(self._views.rglob("*.sqlite*")), time.monotonic()
        return self._bytes
