"""What is counted of rules, wherever they are asked."""

from prometheus_client import Counter

RULE_ORDERS = Counter("callbreaker_rule_orders", "Stop orders proposed by a rule.", ["rule"])
RULE_FAILURES = Counter("callbreaker_rule_failures", "Times a rule raised instead of answering.", ["rule"])


def failures_here() -> dict[str, int]:
    """How often each rule that has raised in this process did so, since it started."""
    samples = [sample for metric in RULE_FAILURES.collect() for sample in metric.samples]
    return {sample.labels["rule"]: int(sample.value) for sample in samples if sample.name.endswith("_total")}


RULE_GIVEN_UP = Counter(
    "callbreaker_rule_given_up", "Times a process stopped asking a rule, which took longer than its budget.", ["rule"]
)
