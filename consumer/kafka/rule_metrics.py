"""What is counted of rules, wherever they are asked."""

from prometheus_client import Counter

RULE_ORDERS = Counter("callbreaker_rule_orders", "Stop orders proposed by a rule.", ["rule"])
RULE_FAILURES = Counter("callbreaker_rule_failures", "Times a rule raised instead of answering.", ["rule"])


def failures_of(rule: str) -> int:
    """How often a rule has raised in this process, since it started."""
    samples = [sample for metric in RULE_FAILURES.collect() for sample in metric.samples]
    return sum(
        int(sample.value) for sample in samples if sample.name.endswith("_total") and sample.labels["rule"] == rule
    )


RULE_GIVEN_UP = Counter(
    "callbreaker_rule_given_up", "Times a process stopped asking a rule, which took longer than its budget.", ["rule"]
)
