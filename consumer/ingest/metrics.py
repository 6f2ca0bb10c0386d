"""What ingest counts."""

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
IN_FLIGHT = Gauge("callbreaker_webhooks_in_flight", "Webhooks being taken in now.")


def webhooks_taken() -> int:
    """How many webhooks this process has taken in since it started."""
    samples = (sample for metric in WEBHOOKS.collect() for sample in metric.samples)
    return int(sum(s.value for s in samples if s.name.endswith("_total") and s.labels["status"] in {"200", "202"}))
