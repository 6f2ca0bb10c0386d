"""From a rule's wish to a stop order that is proposed. Pure, and the same order for the same cause."""

from collections.abc import Mapping, Sequence
from typing import Any

from consumer.model.events import Position
from consumer.model.explained import shown_all
from consumer.model.identity import digest
from consumer.model.orders import Author, StopOrder
from consumer.model.rules import Rule
from consumer.model.stops import Stop

MOST_EVIDENCE = 8
CAMPAIGN = "campaign_id"
"""Where the explanation of an order for one call by its id says which campaign that is of: limits go by it."""


def proposal(
    rule: Rule,
    stop: Stop,
    account: str,
    *,
    cause: Sequence[str],
    evidence: Sequence[Position | None] = (),
    about: Mapping[str, Any] | None = None,
) -> StopOrder:
    """Make the order.

    Args:
        rule: who wants it.
        stop: what it wants.
        account: whose calls.
        cause: what made the rule want it, such as the event's id: part of the order's id, beside rule, account and scope.
        evidence: the events that it is founded on.
        about: what else its explanation says; ``error`` means that the rule failed and a person has to decide.

    """
    scope = (stop.scope.kind, *(part for key in stop.scope.index_keys() for part in key))
    explanation: dict[str, Any] = {"rule": rule.name, "version": rule.version, "hash": rule.hash}
    if rule.expression is not None:
        explanation["expression"] = rule.expression
    explanation |= {"values": shown_all(stop.values), **(about or {})}
    return StopOrder(
        order_id=f"rule-{digest((rule.name, account, *scope, *cause), 10)}",
        account=account,
        scope=stop.scope,
        reason=stop.reason,
        by=Author("rule", rule.name, rule.version, rule.hash),
        reach=stop.reach,
        hold=stop.hold,
        mode=rule.mode,
        lane=rule.lane,
        canary_share=rule.canary_share,
        canary_campaigns=rule.canary_campaigns,
        evidence=tuple(position for position in evidence if position is not None)[:MOST_EVIDENCE],
        explanation=explanation,
    )
