"""What ingest counts."""

import asyncio
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

WEBHOOKS = Counter("callbreaker_webhooks", "Webhooks answered, by account and HTTP status.", ["account", "status"])
REJECTED = Counter(
    "callbreaker_webhooks_rejected", "Authentic webhooks kept in the topic rejected, by reason.", ["account", "reason"]
)
SECONDS = Histogram(
    "callbreaker_webhook_seconds",
    "From the first byte read to the answer, the acknowledgement by Kafka included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
SPOOLED = Counter(
    "callbreaker_webhooks_spooled", "Records of webhooks kept on the disk, since Kafka did not take them in time."
)
SPOOL_RECORDS = Gauge("callbreaker_spool_records", "Records of webhooks on the disk that are not in Kafka yet.")
SPOOL_BYTES = Gauge("callbreaker_spool_bytes", "What they come to; http.spool is the most.")
IN_FLIGHT = Gauge("callbreaker_webhooks_in_flight", "Webhooks being taken in now.")


class Tally:
    """Counts answers, those of one turn of the event loop together: one by one it takes a tenth of a webhook's time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers: list[tuple[str, int, float]] = []
        self._counters: dict[tuple[str, int], Counter] = {}

    def note(self, account: str, status: int, seconds: float) -> None:
        """Count an answer that took ``seconds``."""
        if not self._answers:
            self._loop.call_soon(self._count)
        self._answers.append((account, status, seconds))

    def _count(self) -> None:
        answers, self._answers = self._answers, []
        for account, status, seconds in answers:
            counter = self._counters.get((account, status))  # finding a labelled counter costs more than counting
            if counter is None:
                counter = self._counters[account, status] = WEBHOOKS.labels(account, status)
            counter.inc()
            SECONDS.observe(seconds)


def webhooks_taken() -> int:
    """How many webhooks this process has taken in since it started."""
    samples = (sample for metric in WEBHOOKS.collect() for sample in metric.samples)
    return int(sum(s.value for s in samples if s.name.endswith("_total") and _was_taken(s.labels)))


def _was_taken(labels: Mapping[str, str]) -> bool:
    return labels["status"] in {"200", "202"} and not labels["account"].startswith("signals/")
