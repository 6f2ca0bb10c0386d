"""What rules said of an event, as records: orders, matches, failures, and alerts about rules that take too long."""

import logging
from collections.abc import Iterator

from consumer.correlate.ask_rules import Asked, Rules
from consumer.correlate.records import Records
from consumer.kafka.order_feed import OrderFeed, control_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.rule_metrics import RULE_FAILURES, RULE_GIVEN_UP, RULE_ORDERS

logger = logging.getLogger(__name__)


def records_of(asked: Asked, records: Records) -> Iterator[OutRecord]:
    """Write down, count and log what rules said."""
    for order in asked.orders:
        RULE_ORDERS.labels(order.by.name).inc()
        yield records.order(order)
    for match in asked.matches:
        yield records.match(match)
    for failure in asked.failures:
        RULE_FAILURES.labels(failure.rule).inc()
        logger.error("rule %s failed on %s: %s", failure.rule, failure.event.position, failure.error)
        yield records.failure(failure)


def alerts_of(rules: Rules, feed: OrderFeed, now: float) -> list[OutRecord]:
    """Raise alerts about rules that this process asks no more, and take back those of an earlier start."""
    alerts = rules.alerts(feed.controls.alerts, now) if feed.ready else []
    for alert in alerts:
        if alert.active:
            RULE_GIVEN_UP.labels(alert.name.split("/")[1]).inc()
            logger.error("%s", alert.text)
    return [control_record(feed.topic, alert) for alert in alerts]
