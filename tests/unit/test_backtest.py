"""A backtest's course, and what it counts."""

from collections.abc import Sequence

import pytest

from consumer.backtest.course import Made, Setting
from consumer.backtest.expect import ExpectationError, check, parse
from consumer.backtest.outcome import Ending, after
from consumer.backtest.plan import Plan
from consumer.backtest.recorded import Change, Recorded
from consumer.backtest.result import FIGURES, all_figures
from consumer.backtest.tally import RuleTally, Tally
from consumer.model.events import CallEvent
from consumer.model.limits import Limit, Limits
from consumer.model.orders import Author, Fact, FactKind, Mode, StopOrder
from consumer.model.protected import Protected
from consumer.model.rule_set import RuleSet
from consumer.model.rules import EventRule, configured
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import EventType, Status
from consumer.model.stops import Aim
from consumer.model.terminations import Decision
from consumer.model.throttles import Matches, Throttle
from handlers.rules.cel import cel_rule
from tests.unit.values import event, folded, order

NUMBER = "+918882876897"
FAILED_ONCE = "event.status == 'retry' && call.number != null"


def a_rule(
    scope: ScopeKind = ScopeKind.NUMBER, when: str = FAILED_ONCE, name: str = "one", **terms: object
) -> EventRule:
    found = cel_rule(name, when, aim=Aim(scope, 3_600.0), reason="why", params={})
    return configured(found, **({"name": name, "mode": Mode.SHADOW} | terms))  # type: ignore[arg-type]


def heard(call_id: str, status: Status | None, at: float, **more: object) -> CallEvent:
    kinds = {Status.REGISTERED: EventType.QUEUED, Status.ONGOING: EventType.STARTED, None: EventType.ANALYSIS}
    kind = kinds.get(status, EventType.FINISHED)
    fields = {"call_id": call_id, "type": kind, "logged_at": at, "at": at, **more}
    return event(f"{call_id} {status} {at}", status, **fields)


def waiting(call_id: str, at: float, number: str = NUMBER) -> CallEvent:
    return heard(call_id, Status.REGISTERED, at, number=number, campaign_id="campaign-1")


def tried(
    events: Sequence[CallEvent], *rules: EventRule, setting: Setting | None = None, recorded: Recorded | None = None
) -> tuple[Tally, list[Made]]:
    made: list[Made] = []
    plan = Plan(RuleSet.of(rules), setting or Setting(), witness=made.append)
    tally = plan.tally()
    course = plan.course(tally, recorded)
    for one in events:
        course.take(one)
    course.finish()
    return tally, made


ONE_BY_ONE = a_rule(ScopeKind.CALL, mode=Mode.ENFORCE)
RETRIED = [waiting("c-1", 1.0), waiting("c-2", 2.0), heard("c-1", Status.RETRY, 3.0, attempt=0)]


def test_an_order_stops_what_waits_and_what_comes_while_it_holds() -> None:
    tally, made = tried([*RETRIED, waiting("c-3", 4.0), waiting("c-4", 5_000.0)], a_rule())
    (given,) = [one for one in made if isinstance(one, StopOrder)]
    assert given.scope == Scope.numbers([NUMBER])
    assert [one.call_id for one in made if isinstance(one, Decision)] == ["c-1", "c-2", "c-3"]
    one = tally.rules["one"]
    assert (one.orders, one.stopped, one.first_at, one.last_at) == (1, 3, 3.0, 3.0)
    assert one.orders_by_day == {"1970-01-01": 1}


def test_what_became_of_the_calls_is_held_against_the_rule() -> None:
    events = [
        *RETRIED,
        heard("c-1", Status.ONGOING, 5.0, attempt=1),
        heard("c-1", Status.COMPLETED, 6.0, attempt=1, connected=True, duration_seconds=60.0, cost=0.5),
        heard("c-2", Status.FAILED, 7.0, attempt=0, duration_seconds=0.0),
    ]
    tally, _ = tried(events, a_rule())
    figures = all_figures(tally)["one"]
    assert (figures["false_stops"], figures["right_stops"]) == (1, 1)
    assert (figures["saved_calls"], figures["saved_minutes"], figures["saved_cost"]) == (2, 1.0, 0.5)


@pytest.mark.parametrize(
    ("then", "ending"),
    [
        ([heard("c", Status.COMPLETED, 9.0, attempt=0)], Ending.WELL),
        ([heard("c", Status.ONGOING, 9.0, attempt=0, connected=True)], Ending.WELL),
        ([heard("c", Status.ERROR, 9.0, attempt=0)], Ending.BADLY),
        ([heard("c", Status.RETRY, 9.0, attempt=0)], Ending.BADLY),
        ([heard("c", Status.CANCELLED, 9.0)], Ending.CANCELLED),
        ([heard("c", Status.ONGOING, 9.0, attempt=0)], Ending.OPEN),
        ([], Ending.OPEN),
    ],
)
def test_a_call_went_well_badly_or_is_not_told(then: list[CallEvent], ending: Ending) -> None:
    stopped = waiting("c", 1.0)
    assert after(folded(stopped), folded(stopped, *then)).ending is ending


def test_a_protected_number_is_spared_and_a_released_order_stops_no_more() -> None:
    setting = Setting(Protected(numbers=frozenset({NUMBER})))
    tally, _ = tried(RETRIED, a_rule(), setting=setting)
    assert (tally.rules["one"].orders, tally.rules["one"].stopped) == (1, 0)


def test_an_order_that_was_made_live_comes_into_force_and_ends_when_it_did() -> None:
    rule = a_rule()
    _, made = tried(RETRIED, rule)
    (given,) = [one for one in made if isinstance(one, StopOrder)]
    by = Author("guard", "guard")
    live: list[Change] = [
        StopOrder(
            given.order_id, given.account, given.scope, given.reason, given.by, mode=Mode.SHADOW, hold=None, at=3.5
        ),
        Fact(given.order_id, FactKind.ADMITTED, by, "fits", at=4.5),
        Fact(given.order_id, FactKind.RELEASED, by, "enough", at=6.5),
    ]
    recorded = Recorded.sorted_out(live, {rule.name: rule.hash}, start=0.0)
    events = [
        *RETRIED,
        heard("c-2", Status.ONGOING, 4.0, attempt=0),
        waiting("c-5", 5.0),
        waiting("c-7", 7.0),
    ]
    _, again = tried(events, rule, recorded=recorded)
    assert [one.call_id for one in again if isinstance(one, Decision)] == ["c-1", "c-5"]
    of_another_version = Recorded.sorted_out(live, {rule.name: "another"}, start=0.0)
    assert of_another_version == Recorded()


def test_orders_of_others_overlap_and_are_not_the_rules_own() -> None:
    theirs = order("theirs", scope=Scope.campaign("campaign-1"), at=1.5, hold=None)
    recorded = Recorded.sorted_out([theirs], {"one": "any"}, start=0.0)
    tally, made = tried(RETRIED, a_rule(), recorded=recorded)
    assert tally.rules["one"].overlap == {"operators": 2}
    assert all("theirs" in one.orders and len(one.orders) == 2 for one in made if isinstance(one, Decision))


def test_rules_are_not_asked_before_the_start_and_know_how_calls_stand_there() -> None:
    again = heard("c-2", Status.RETRY, 10.0, attempt=0)
    tally, made = tried([*RETRIED, again], a_rule(), setting=Setting(start=5.0))
    assert tally.rules["one"].first_at == 10.0
    assert {one.call_id for one in made if isinstance(one, Decision)} == {"c-1", "c-2"}


def test_two_rules_are_tried_side_by_side() -> None:
    other = a_rule(ScopeKind.CALL, "event.status == 'retry'", "other", mode=Mode.CANARY, canary_share=0.000001)
    tally, _ = tried(RETRIED, a_rule(), other)
    assert tally.rules["one"].overlap == {"other": 1}
    assert tally.rules["other"].overlap == {"one": 1}
    assert (tally.rules["other"].stopped, tally.rules["other"].in_canary) == (1, 0)


def test_a_rule_that_raises_is_counted() -> None:
    tally, _ = tried([heard("c", Status.RETRY, 3.0, attempt=0)], a_rule(when="event.status == 'retry'"))
    assert tally.rules["one"].failures == 1
    assert "number" in (tally.rules["one"].first_failure or "")


def test_expectations_are_about_one_rule_or_all() -> None:
    tally = Tally(["opt-out", "other"])
    tally.rules["opt-out"] = RuleTally(orders=2)
    tally.rules["other"] = RuleTally(orders=3)
    wishes = [parse(text, ["opt-out", "other"], FIGURES) for text in ("opt-out.orders>=2", "orders <= 4", "held==0")]
    assert [(one.found, one.met) for one in check(wishes, all_figures(tally))] == [(2, True), (5, False), (0, True)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("opt-oud.orders>=1", "did you mean 'opt-out'"),
        ("stoped>=1", "did you mean 'stopped'"),
        ("orders", "is no expectation"),
    ],
)
def test_an_expectation_that_cannot_be_checked_says_what_was_meant(text: str, told: str) -> None:
    with pytest.raises(ExpectationError, match=told):
        parse(text, ["opt-out"], FIGURES)


def test_calls_that_are_stopped_one_by_one_count_for_the_limit_of_their_campaign() -> None:
    setting = Setting(limits=Limits(per_campaign=Limit(2, 1.0, 3_600.0, 0)))
    events = [one for n in range(4) for one in (waiting(f"c-{n}", 1.0 + n), heard(f"c-{n}", Status.RETRY, 2.0 + n))]
    tally, made = tried(events, ONE_BY_ONE, setting=setting)
    assert (tally.rules["one"].orders, tally.rules["one"].held) == (4, 2)
    assert len([one for one in made if isinstance(one, Decision)]) == 2
    twice = Throttle(matches=Matches(1, 60.0))
    tally, _ = tried(events, a_rule(ScopeKind.CALL, mode=Mode.ENFORCE, throttle=twice), setting=setting)
    assert (tally.rules["one"].orders, tally.rules["one"].held) == (4, 2)


def test_calls_that_nobody_asked_about_count_among_those_that_wait() -> None:
    setting = Setting(limits=Limits(per_account=Limit(100, 0.5, 3_600.0, 0)))
    others = [waiting(f"other-{n}", 1.0, f"+1555000000{n}") for n in range(2)]
    tally, _ = tried([*others, waiting("c-1", 2.0), heard("c-1", Status.RETRY, 3.0)], ONE_BY_ONE, setting=setting)
    assert (tally.rules["one"].orders, tally.rules["one"].held) == (1, 0)
    tally, _ = tried([waiting("c-1", 2.0), heard("c-1", Status.RETRY, 3.0)], ONE_BY_ONE, setting=setting)
    assert (tally.rules["one"].orders, tally.rules["one"].held) == (1, 1)
