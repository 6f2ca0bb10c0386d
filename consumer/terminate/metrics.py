"""What the dispatcher counts."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "callbreaker_terminate_requests", "Terminate requests sent, by what their answer meant.", ["account", "answer"]
)
IDS = Counter("callbreaker_terminate_ids", "Call ids in terminate requests.", ["account"])
RECONCILED = Counter("callbreaker_history_events", "Events learned from the call history.", ["account"])
OUTCOMES = Counter("callbreaker_terminations_settled", "Terminations by how they ended.", ["account", "outcome"])
SECONDS = Histogram("callbreaker_terminate_request_seconds", "How long the provider took to answer.", ["account"])
