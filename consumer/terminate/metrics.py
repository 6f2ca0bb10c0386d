"""What the dispatcher counts."""

from contextlib import suppress

from prometheus_client import Counter, Gauge, Histogram

from consumer.terminate.breaker import Endpoint
from consumer.terminate.dispatcher import Health

REQUESTS = Counter(
    "callbreaker_terminate_requests",
    "Terminate requests, by what their answer meant; not_sent never left.",
    ["account", "answer"],
)
IDS = Counter("callbreaker_terminate_ids", "Call ids in terminate requests.", ["account"])
RECONCILED = Counter("callbreaker_history_events", "Events learned from the call history.", ["account"])
OUTCOMES = Counter("callbreaker_terminations_settled", "Terminations by how they ended.", ["account", "outcome"])
SECONDS = Histogram("callbreaker_terminate_request_seconds", "How long the provider took to answer.", ["account"])
BACKLOG = Gauge("callbreaker_terminate_backlog", "Terminations that wait for a request.", ["account"])
IN_FLIGHT = Gauge("callbreaker_terminate_requests_in_flight", "Requests that wait for their answer.", ["account"])
CONCURRENCY = Gauge("callbreaker_terminate_concurrency", "How many requests may be in flight now.", ["account"])
BREAKER = Gauge(
    "callbreaker_terminate_breaker",
    "1 for the state that the breaker of an endpoint (stop, look, history) is in.",
    ["account", "endpoint", "state"],
)
HELD = Gauge(
    "callbreaker_terminate_held",
    "1 while the provider refuses what an endpoint is asked.",
    ["account", "endpoint"],
)
BREAKER_STATES = ("closed", "half_open", "open")


def show(account: str, health: Health, backlog: int) -> None:
    """Show how the sending of an account goes."""
    BACKLOG.labels(account).set(backlog)
    IN_FLIGHT.labels(account).set(health.in_flight)
    CONCURRENCY.labels(account).set(health.concurrency)
    for endpoint, held in health.holds.items():
        HELD.labels(account, endpoint).set(held is not None)
        for state in BREAKER_STATES:
            BREAKER.labels(account, endpoint, state).set(state == health.breakers[endpoint])


def hide(account: str) -> None:
    """Show nothing of an account that another worker owns now."""
    for gauge in (BACKLOG, IN_FLIGHT, CONCURRENCY):
        _remove(gauge, account)
    for endpoint in Endpoint:
        _remove(HELD, account, endpoint)
        for state in BREAKER_STATES:
            _remove(BREAKER, account, endpoint, state)


def _remove(gauge: Gauge, *labels: str) -> None:
    with suppress(KeyError):  # it was never shown
        gauge.remove(*labels)
