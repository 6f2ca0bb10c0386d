"""The controls as figures."""

from prometheus_client import Gauge

from consumer.kafka.order_feed import OrderFeed

LEVER = Gauge("callbreaker_safety_lever_engaged", "1 while nothing is sent that only rules want.")
ALERTS = Gauge("callbreaker_alerts_active", "What is loud now.")
AWAITING = Gauge("callbreaker_orders_awaiting_approval", "Orders of rules that wait for a person.")
RULES = Gauge(
    "callbreaker_rules_version", "The version of the rules in force that was taken over at run time.", ["hash"]
)
REFUSED = Gauge("callbreaker_rules_refused", "1 while the configuration file has rules that cannot be taken over.")


def show_controls(feed: OrderFeed) -> None:
    """Show how the controls stand."""
    LEVER.set(feed.controls.lever_engaged)
    ALERTS.set(len(feed.controls.alerts))
    AWAITING.set(feed.book.count_awaiting_approval())


def show_rules(hash_: str, version: int) -> None:
    """Show which rules are in force."""
    RULES.clear()
    RULES.labels(hash_).set(version)
