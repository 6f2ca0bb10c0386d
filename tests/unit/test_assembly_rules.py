"""From the configuration to the rules that run: every key arrives, and what cannot be meant is refused with the rule."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.model.orders import Mode
from consumer.model.over import Over
from consumer.model.rule_set import RuleSet
from consumer.model.rules import Aim, EventRule, RuleError, SignalRule, SilenceRule, TotalsRule
from consumer.model.scopes import ScopeKind
from consumer.model.throttles import Matches, Throttle
from consumer.service.assembly_rules import rules_of
from consumer.settings import load_settings

MODULE = """\
from consumer.model import Call, CallEvent, Over, Stop, Totals, rule


@rule(on="analysis")
def angry(event: CallEvent, call: Call) -> Stop | None:
    return None


@rule(over=Over("campaign", window="10m"))
def sums(totals: Totals) -> Stop | None:
    return None


@rule
def with_params(event: CallEvent, call: Call, params: dict) -> Stop | None:
    return Stop.call(call.call_id, reason=params["why"])
"""
THROTTLE = {"once_per": "1h", "matches": {"count": 5, "within": "10m"}, "cool_down": "30m"}


@pytest.fixture(scope="module", autouse=True)
def own_module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("own")
    (folder / "rules_of_tests.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def compiled(folder: Path, *rules: dict[str, Any]) -> RuleSet:
    file = folder / "callbreaker.yaml"
    file.write_text(yaml.safe_dump({"rules": list(rules)}))
    return rules_of(load_settings(file, {}))


def test_every_key_of_an_expression_arrives(tmp_path: Path) -> None:
    told = {
        "name": "mine",
        "when": "event.analysis.angry",
        "stop": {"scope": "number", "hold": "1h"},
        "mode": "canary",
        "canary": {"share": 0.5},
        "throttle": THROTTLE,
        "on_error": "hold",
        "budget": "50ms",
    }
    (rule,) = compiled(tmp_path, told).on_events
    assert (rule.name, rule.mode, rule.canary_share) == ("mine", Mode.CANARY, 0.5)
    assert rule.throttle == Throttle(3_600.0, Matches(5, 600.0), 1_800.0)
    assert (rule.on_error, rule.aim, rule.budget_seconds) == ("hold", Aim(ScopeKind.NUMBER, 3_600.0), 0.05)
    assert rule.expression == "event.analysis.angry"


def test_every_key_of_an_expression_over_totals_arrives_and_the_correlators_learn_what_to_add_up(
    tmp_path: Path,
) -> None:
    told = {
        "name": "low",
        "over": {"scope": "number", "window": "1h", "at_least": 3},
        "when": "totals.sums.points / totals.sums.analysis.weight < 2",
        "measures": {"points": "event.analysis.points"},
        "stop": {"scope": "number"},
        "throttle": {"cool_down": "1h"},
    }
    rules = compiled(tmp_path, told, told | {"name": "low-2"})
    rule = rules.over_totals[0]
    assert (rule.over, rule.mode) == (Over("number", 3_600.0, 3), Mode.SHADOW)
    assert rule.throttle == Throttle(cool_down=3_600.0)
    assert [measure.name for measure in rules.measures] == ["event.analysis.points", "analysis.weight"]
    assert rules.totals_of_numbers
    assert not rules.totals_name_scopes
    assert len(rules) == 2
    account = told | {"over": {"scope": "account", "window": "1h"}, "stop": {"scope": "agent"}}
    assert compiled(tmp_path, account).totals_name_scopes


def test_built_in_rules_of_every_kind_take_the_configurations_name_and_params(tmp_path: Path) -> None:
    rules = compiled(
        tmp_path,
        {"name": "reached", "handler": "duplicate-contact", "params": {"within": "account"}, "mode": "enforce"},
        {"name": "spent", "handler": "budget", "params": {"cost": 5}, "over": {"scope": "account", "window": "30d"}},
        {"name": "quiet", "handler": "no_events", "params": {"after": "1h"}},
        {"name": "qa", "handler": "manual", "signal": {"auth": {"type": "bearer", "secret": "a-qa-tools-secret"}}},
    )
    assert [type(rule) for rule in rules] == [EventRule, TotalsRule, SilenceRule, SignalRule]
    assert [rule.name for rule in rules] == ["reached", "spent", "quiet", "qa"]
    assert rules.on_events[0].mode is Mode.ENFORCE
    assert rules.over_totals[0].over == Over("account", 30 * 86_400.0, 1)
    assert rules.on_signals[0].throttle.matches == Matches(1, 60.0)


def test_a_rule_over_totals_that_fails_can_hold_its_own_scope_without_being_told_which(tmp_path: Path) -> None:
    (rule,) = compiled(tmp_path, {"name": "r", "handler": "rules_of_tests:sums", "on_error": "hold"}).over_totals
    assert rule.aim == Aim(ScopeKind.CAMPAIGN, None)


def test_a_function_that_takes_one_more_argument_gets_its_params_as_they_are_written(tmp_path: Path) -> None:
    (rule,) = compiled(
        tmp_path, {"name": "r", "handler": "rules_of_tests:with_params", "params": {"why": "so"}}
    ).on_events
    (other,) = compiled(
        tmp_path, {"name": "r", "handler": "rules_of_tests:with_params", "params": {"why": "not so"}}
    ).on_events
    assert rule.hash != other.hash


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"handler": "budget"}, "rule r: params: a budget needs"),
        ({"handler": "budget", "params": {"costs": 1}}, "rule r: params: there is no 'costs'; did you mean 'cost'?"),
        ({"handler": "opt_out", "params": {"a": 1}}, "rule r: it takes no `params`"),
        ({"handler": "rules_of_tests:angry", "params": {"a": 1}}, "rule r: it takes no `params`"),
        ({"handler": "rules_of_tests:angry", "over": {"scope": "agent", "window": "1h"}}, "rule r: it sees no totals"),
        ({"handler": "rules_of_tests:angry", "on_error": "hold"}, "rule r: `on_error: hold` needs `stop`"),
        (
            {"handler": "rules_of_tests:angry", "throttle": {"matches": {"count": 1, "within": "1h", "of": 2}}},
            "rule r: `matches.of` needs `stop`",
        ),
        ({"handler": "manual"}, "rule r: it is for signals from outside; add `signal"),
        (
            {"handler": "opt_out", "signal": {"auth": {"type": "bearer", "secret": "a-qa-tools-secret"}}},
            "no signal reaches",
        ),
        ({"when": "evnt.type == 'x'", "stop": {"scope": "call"}}, "rule r: line 1, column 1: 'evnt' is unknown"),
        (
            {"when": "totals.x > 1", "over": {"scope": "agent", "window": "1h"}, "stop": {"scope": "agent"}},
            "rule r: line 1, column 1: totals has no field 'x'",
        ),
    ],
)
def test_what_a_rule_cannot_do_is_refused_with_its_name(tmp_path: Path, told: dict[str, Any], says: str) -> None:
    with pytest.raises(RuleError) as refused:
        compiled(tmp_path, {"name": "r"} | told)
    assert says in str(refused.value)
