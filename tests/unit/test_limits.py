from typing import Any

import pytest

from consumer.model.limits import NO_LIMITS, Count, Limit, Limits, Look, Subject, count_of_named, look
from consumer.model.orders import Mode
from consumer.model.scopes import Scope
from tests.unit.values import ACCOUNT, RULE, order

HOUR = 3_600.0
ORDER = order(by=RULE)


def looked_at(limits: Limits, count: Count, used: dict[Subject, int] | None = None) -> list[Look]:
    return look(ORDER, count, limits, lambda subject, within: (used or {}).get(subject, 0) if within == HOUR else -1)


def over(limit: dict[str, Any], count: Count, used: int = 0) -> str | None:
    fields = {"calls": 500, "share": 0.1, "within": HOUR, "share_from": 20}
    before = {Subject(rule=RULE.name): used, Subject(rule=RULE.name, account=ACCOUNT): used}
    (one,) = looked_at(Limits(per_rule=Limit(**(fields | limit))), count, before)
    return one.over


@pytest.mark.parametrize(
    ("limit", "count", "used", "expected"),
    [
        ({}, Count(500, 10_000), 0, None),
        ({}, Count(501, 10_000), 0, "501 calls within 1h are more than 500 (per_rule.calls)"),
        ({}, Count(1, 10_000), 500, "501 calls within 1h are more than 500 (per_rule.calls)"),
        ({}, Count(21, 209), 0, "21 of 209 open calls within 1h are more than 0.1 (per_rule.share)"),
        ({}, Count(21, 210), 0, None),
        ({}, Count(20, 20), 0, None),  # a handful
        ({"share_from": 0}, Count(1, 5), 0, "1 of 5 open calls within 1h are more than 0.1 (per_rule.share)"),
        ({}, Count(10, 200), 20, "30 of 220 open calls within 1h are more than 0.1 (per_rule.share)"),
        ({}, Count(100, None), 0, None),  # nobody knows of how many
        ({"calls": 0}, Count(0, 100), 7, None),  # what stops nothing needs nobody's approval
        ({"calls": 0}, Count(1, 100), 0, "1 calls within 1h are more than 0 (per_rule.calls)"),
    ],
)
def test_a_limit_is_exceeded_by_calls_or_by_their_share(
    limit: dict[str, Any], count: Count, used: int, expected: str | None
) -> None:
    assert over(limit, count, used) == expected


def test_each_campaign_of_an_order_is_looked_at_by_itself() -> None:
    limits = Limits(per_campaign=Limit(10, 1.0, HOUR, 20))
    count = Count(25, 1_000, {"a": 10, "b": 15}, {"a": 10, "b": 900})
    looks = looked_at(limits, count, {Subject(account=ACCOUNT, campaign="a"): 1})
    assert [(one.of, one.before, one.with_it, one.open_calls, bool(one.over)) for one in looks] == [
        ("campaign a", 1, 11, 10, True),
        ("campaign b", 0, 15, 900, True),
    ]


def test_every_limit_that_there_is_is_consulted_and_says_what_it_saw() -> None:
    limit = Limit(100, 0.5, HOUR, 20)
    looks = looked_at(Limits(limit, limit, limit), Count(3, 50, {"c": 3}, {"c": 9}))
    assert [one.name for one in looks] == ["per_rule", "per_account", "per_campaign"]
    assert looks[0].as_dict() == {
        "limit": "per_rule",
        "of": "rule opt-out",
        "calls": 100,
        "share": 0.5,
        "within_seconds": HOUR,
        "before": 0,
        "with_it": 3,
        "open": 50,
        "over": None,
    }
    assert looked_at(NO_LIMITS, Count(10_000)) == []
    assert not NO_LIMITS.any


@pytest.mark.parametrize(
    ("fields", "matched", "by_campaign"),
    [
        ({}, 2, {}),
        ({"explanation": {"campaign_id": "c"}}, 2, {"c": 2}),
        ({"mode": Mode.SHADOW, "canary_share": 0.0}, 2, {}),
        ({"mode": Mode.CANARY, "canary_share": 0.0, "explanation": {"campaign_id": "c"}}, 0, {}),
        ({"mode": Mode.CANARY, "canary_campaigns": ("c",), "explanation": {"campaign_id": "c"}}, 2, {"c": 2}),
        ({"mode": Mode.CANARY, "canary_campaigns": ("d",), "explanation": {"campaign_id": "c"}}, 0, {}),
        ({"mode": Mode.CANARY, "canary_campaigns": ("d",)}, 2, {}),  # nobody knows of which campaign they are
    ],
)
def test_an_order_for_calls_by_id_counts_those_that_it_would_really_stop(
    fields: dict[str, Any], matched: int, by_campaign: dict[str, int]
) -> None:
    given: dict[str, Any] = {"by": RULE, "scope": Scope.calls(["a", "b"]), "mode": Mode.ENFORCE} | fields
    assert count_of_named(order(**given), 9) == Count(matched, 9, by_campaign)
