"""What guard counts."""

from prometheus_client import Counter

NOTICES = Counter("callbreaker_notices", "Notices posted to `notify.url`, by how that went.", ["result"])
JUDGED = Counter(
    "callbreaker_rule_orders_judged", "Orders of rules let through or held for approval.", ["rule", "answer"]
)
