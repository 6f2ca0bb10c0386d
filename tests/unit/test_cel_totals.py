from typing import Any

import pytest

from consumer.model.over import Over, Totals
from consumer.model.rules import Aim, RuleError
from consumer.model.scopes import Scope, ScopeKind
from handlers.rules.cel_totals import Expression, cel_totals_rule, measure_of
from tests.unit.values import ACCOUNT, event


def totals(**given: Any) -> Totals:
    return Totals(ACCOUNT, "campaign", "k", 660.0, **given)


def true(text: str, of: Totals | None = None, measures: dict[str, str] | None = None, **params: Any) -> bool:
    return Expression(text, measures or {}, rule="mine").true_for(of or totals(), params)


def refusal(text: str, **measures: str) -> str:
    with pytest.raises(RuleError) as refused:
        Expression(text, measures, rule="mine")
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "totals.failed > 0.4 * totals.finished",
        "totals.failed * 2 > totals.finished",
        "totals.failed == 6",
        "totals.finished >= 10 && totals.open == 3 && totals.cost < 1",
        "totals.share('failed', 'finished') > 0.5",
        'totals.share("failed", "finished") == 0.6',
        "share(totals.failed, totals.finished) > 0.5",
        "totals.share(totals.failed, totals.finished) > params.most",
        "totals.finished / 2 == params.half",
        "totals.account == 'acme-ringg' && totals.name == 'k'",
        "totals.sums.analysis.score == 0",
    ],
)
def test_figures_are_numbers_that_every_other_number_goes_with(text: str) -> None:
    assert true(text, totals(failed=6.0, finished=10.0, open=3.0, cost=0.5), most=0.5, half=5)


@pytest.mark.parametrize(
    "text", ["totals.share('failed', 'finished') > 0.1", "totals.failed > params.most", "totals.failed"]
)
def test_what_cannot_be_divided_or_is_absent_is_not_true_and_no_error(text: str) -> None:
    assert not true(text, totals(failed=6.0))


def test_sums_are_of_named_measures_or_of_paths_in_the_event() -> None:
    asked = Expression(
        "totals.share('scores', 'scored') < 3 && totals.sums.analysis.length > 5",
        {"scores": "event.analysis.score", "scored": "has(event.analysis.score)"},
        rule="mine",
    )
    assert sorted(asked.measures) == ["analysis.length", "scored", "scores"]
    assert asked.true_for(totals(sums={"scores": 4.0, "scored": 2.0, "analysis.length": 6.0}), {})
    assert not asked.true_for(totals(sums={"scores": 8.0, "scored": 2.0, "analysis.length": 6.0}), {})


@pytest.mark.parametrize(
    ("told", "analysis", "counted"),
    [
        ("event.analysis.score", {"score": 0.5}, 500_000),
        ("event.analysis.score", {"score": "much"}, None),
        ("event.analysis.score", {}, None),
        ("event.analysis.score * 2.0", {"score": 0.5}, 1_000_000),
        ("event.analysis.mood == 'bad'", {"mood": "bad"}, 1_000_000),
        ("event.analysis.mood == 'bad'", {"mood": "good"}, None),
        ("event.analysis.mood > 3", {"mood": "bad"}, None),
        ("has(event.analysis.mood)", {"mood": "bad"}, 1_000_000),
    ],
)
def test_a_measure_adds_a_number_or_counts_what_is_true(
    told: str, analysis: dict[str, Any], counted: int | None
) -> None:
    assert measure_of(told, "m", rule="mine").of(event(analysis=analysis)) == counted


def test_unknown_names_are_refused_with_line_column_and_the_nearest() -> None:
    assert (
        refusal("totals.faild > 1")
        == "rule mine: line 1, column 1: totals has no field 'faild'; did you mean 'failed'?"
    )
    assert "line 2, column 2: totals.sums has no 'scor'" in refusal(
        "true &&\n totals.sums.scor > 1", score="event.cost"
    )
    assert "did you mean 'score'?" in refusal("totals.sums.scor > 1", score="event.cost")
    assert "column 14: totals have no 'fialed'; did you mean 'failed'?" in refusal(
        "totals.share('fialed', 'finished') > 1"
    )
    assert "'event' is unknown" in refusal("event.type == 'x'")
    assert "line 1, column 1: event has no field 'analisys'; did you mean 'analysis'?" in refusal(
        "totals.sums.m > 1", m="event.analisys.m"
    )
    assert "does not parse: line 1, column 16" in refusal("totals.failed >")


def test_a_rule_over_totals_stops_their_scope_and_says_what_it_saw() -> None:
    rule = cel_totals_rule(
        "failing",
        "totals.share('failed', 'finished') > params.most",
        over=Over("campaign", "10m", 50),
        aim=Aim(ScopeKind.CAMPAIGN, None),
        reason=None,
        params={"most": 0.4},
        measures={},
    )
    assert (rule.over.seconds, rule.over.at_least) == (600.0, 50)
    (stop,) = rule(totals(failed=30.0, finished=60.0))  # type: ignore[misc]
    assert (stop.scope, stop.hold) == (Scope.campaign("k"), None)
    assert stop.values == {"params.most": 0.4, "totals.failed": 30.0, "totals.finished": 60.0}
    assert list(rule(totals(failed=3.0, finished=60.0))) == []  # type: ignore[arg-type]


def test_totals_of_an_account_stop_each_of_its_campaigns() -> None:
    rule = cel_totals_rule(
        "budget",
        "totals.cost > 10",
        over=Over("account", "1d"),
        aim=Aim(ScopeKind.CAMPAIGN, None),
        reason="spent",
        params={},
        measures={},
    )
    spent = Totals(ACCOUNT, "account", "", 60.0, cost=11.0, heard_of={"campaign": ("a", "b"), "agent": ("x",)})
    assert [stop.scope for stop in rule(spent)] == [Scope.campaign("a"), Scope.campaign("b")]  # type: ignore[union-attr]
