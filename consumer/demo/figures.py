"""What the demo counts: our own figures from this process, and the provider's from its judge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY

from consumer.demo.setting import ACCOUNT
from consumer.model.terminations import AnswerClass
from consumer.service.service import Service

OPEN = ("waiting", "requested", "unknown", "accepted")
"""Terminations whose outcome is still to come."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at both sides. ``at_provider`` is calls by status; ``ending`` is terminations not yet settled."""

    webhooks_taken: int
    calls_seen: int
    waiting: int
    stopped_by_opt_out: int
    requests: int
    ids: int
    confirmed: int
    missed: int
    ending: int
    other_outcomes: int
    verdict: Mapping[str, Any]

    @property
    def ongoing(self) -> int:
        return self._at_provider("ongoing")

    @property
    def waiting_there(self) -> int:
        return self._at_provider("registered", "retry")

    @property
    def never_dialled(self) -> int:
        return self._at_provider("registered")

    @property
    def done(self) -> int:
        return self._at_provider("completed", "failed", "error")

    @property
    def cut(self) -> int:
        return self._at_provider("cancelled")

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way any more, on either side."""
        quiet_there = not (self.ongoing or self.waiting_there or self.verdict["webhooks_waiting"])
        return quiet_there and not (self.ending or self.waiting)

    def _at_provider(self, *statuses: str) -> int:
        return sum(self.verdict["calls_by_status"].get(status, 0) for status in statuses)


def look(service: Service, verdict: Mapping[str, Any]) -> Figures:
    """Count what the service has done so far."""
    overview = service.overview()
    states: Mapping[str, int] = overview["terminations"]
    known = (*OPEN, "confirmed", "missed")
    return Figures(
        webhooks_taken=_metric("callbreaker_webhooks_total", status="200"),
        calls_seen=overview["calls"],
        waiting=overview["waiting"],
        stopped_by_opt_out=_by_rules(service),
        requests=_requests(),
        ids=_metric("callbreaker_terminate_ids_total"),
        confirmed=states.get("confirmed", 0),
        missed=states.get("missed", 0),
        ending=sum(states.get(state, 0) for state in OPEN),
        other_outcomes=sum(count for state, count in states.items() if state not in known),
        verdict=verdict,
    )


def _by_rules(service: Service) -> int:
    """Count what rules had stopped, as confirmed."""
    assert service.ledger is not None
    orders = [record.order.order_id for record in service.feed.book if not record.order.by.is_operator]
    return sum(service.ledger.ledger.counts(order_id)["confirmed"] for order_id in orders)


def _metric(name: str, **labels: str) -> int:
    return int(REGISTRY.get_sample_value(name, {"account": ACCOUNT, **labels}) or 0)


def _requests() -> int:
    """How many requests have left."""
    samples = [
        s for metric in REGISTRY.collect() for s in metric.samples if metric.name == "callbreaker_terminate_requests"
    ]
    mine = [s for s in samples if s.name.endswith("_total") and s.labels["account"] == ACCOUNT]
    return int(sum(s.value for s in mine if s.labels["answer"] != AnswerClass.NOT_SENT))
