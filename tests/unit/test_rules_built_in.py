"""The built-in rules, each on what providers really send: the golden payloads of tests/webhooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from consumer.ingest.intake import Intake
from consumer.kafka.topics import Topics
from consumer.model import Call, CallEvent, EventType, Status, Stop
from consumer.model.calls import MILLION, fold
from consumer.model.codec import decode_event
from consumer.model.events import Position
from consumer.model.orders import Mode
from consumer.model.over import Over, Totals
from consumer.model.rules import EventRule, RuleError, Silence, SilenceRule, TotalsRule, configured
from consumer.model.scopes import Scope
from handlers.providers.table import PROVIDERS
from handlers.rules.calling_hours import zones_of
from handlers.rules.catalog import find
from tests.unit.values import ACCOUNT, SECRET, account, event, folded, waiting_call

WEBHOOKS = Path(__file__).parent.parent / "webhooks"
DAY = 86_400.0
NUMBER = "+919875436897"
NOON_IN_INDIA = 1_765_697_400.0  # 2025-12-14 07:30 UTC, 13:00 there


def webhook(name: str, **changed: Any) -> list[CallEvent]:
    """The events of a golden payload, as ingest reads it; ``changed`` are top-level fields of the body."""
    path = WEBHOOKS / f"{name}.json"
    file = orjson.loads(path.read_bytes())
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    of = account(provider=path.parent.name, webhook={"auth": auth, "fields": file.get("fields", {})})
    intake = Intake(of, PROVIDERS[path.parent.name], Topics.named())
    taken = intake.take(CIMultiDict({"X-Webhook-Secret": SECRET}), orjson.dumps(file["body"] | changed))
    assert taken.reason is None
    return [decode_event(record.value, Position("call-events", 0, 0), NOON_IN_INDIA) for record in taken.records]


def built_in(name: str, **params: Any) -> EventRule:
    found = configured(find(name), name=name, mode=Mode.SHADOW, params=params)
    assert isinstance(found, EventRule)
    return found


def over_totals(name: str, **params: Any) -> TotalsRule:
    found = configured(find(name), name=name, params=params)
    assert isinstance(found, TotalsRule)
    return found


def asked(rule: EventRule, events: Sequence[CallEvent], call: Call | None = None) -> Stop | None:
    """Fold events and ask about each that the rule wants to see; gives the first stop."""
    for one in events:
        call = fold(call, one)
        stop = rule(one, call) if one.type in rule.on else None
        if stop:
            return stop
    return None


def stops(rule: TotalsRule, totals: Totals) -> list[Stop]:
    found = rule(totals)
    return [found] if isinstance(found, Stop) else list(found or ())


@pytest.mark.parametrize(
    "name",
    [
        "ringg/client_analysis_completed",
        "ringg/platform_analysis_completed",
        "bland/post_call_analysed",
        "vapi/end_of_call_report",
    ],
)
def test_opt_out_in_the_analysis_of_any_provider_stops_the_number(name: str) -> None:
    known = None if "ringg" not in name else waiting_call(webhook(name)[0].call_id, number=NUMBER)
    stop = asked(built_in("opt_out"), webhook(name), known)
    assert stop is not None
    assert (stop.scope.kind, stop.hold) == ("number", 30 * DAY)
    assert stop.values == {"event.analysis.opt_out": True}


@pytest.mark.parametrize("said", ["Do not call", "do-not-call", "OPT_OUT", "never call again"])
def test_opt_out_may_be_said_by_the_status_in_the_analysis(said: str) -> None:
    told = event("a", type=EventType.ANALYSIS, analysis={"call_outcome": said}, number=NUMBER)
    assert asked(built_in("opt_out"), [told]) is not None
    other = event("a", type=EventType.ANALYSIS, analysis={"call_outcome": "interested"}, number=NUMBER)
    assert asked(built_in("opt_out"), [other]) is None
    wants = built_in("opt_out").wants
    assert wants is not None
    assert (wants(told), wants(other)) == (True, False)


def test_duplicate_contact_stops_the_other_calls_to_a_number_that_was_reached() -> None:
    stop = asked(built_in("duplicate_contact"), webhook("bland/post_call_analysed"))
    assert stop is not None
    assert stop.scope == Scope.numbers_in_campaign("b-1", ["+12223334444"])
    assert stop.hold == DAY
    everywhere = asked(built_in("duplicate_contact", within="account", hold="2d"), webhook("ringg/call_completed"))
    assert everywhere is not None
    assert (everywhere.scope, everywhere.hold) == (Scope.numbers([NUMBER]), 2 * DAY)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("bland/post_call_voicemail", {}),
        ("vapi/status_update_ended_voicemail", {}),
        ("bland/post_call_no_answer", {}),
        ("ringg/call_completed_failed", {}),
        ("ringg/callback_registered", {}),
        ("ringg/call_completed", {"talked": "30s"}),
    ],
)
def test_who_was_not_reached_may_be_called_again(name: str, params: dict[str, Any]) -> None:
    assert asked(built_in("duplicate_contact", **params), webhook(name)) is None


def campaign(**figures: Any) -> Totals:
    return Totals(ACCOUNT, "campaign", "k", 600.0, **figures)


def test_failing_campaign_stops_a_campaign_of_which_too_large_a_share_failed() -> None:
    rule = over_totals("failing_campaign")
    assert rule.over == Over("campaign", 600.0, 50)
    (stop,) = stops(rule, campaign(finished=100.0, failed=41.0))
    assert (stop.scope, stop.hold) == (Scope.campaign("k"), None)
    assert stop.reason == "41 of 100 attempts failed, more than 40%"
    assert stops(rule, campaign(finished=100.0, failed=40.0, retried=60.0)) == []
    assert stops(over_totals("failing_campaign", retries=True), campaign(finished=100.0, retried=41.0)) != []
    assert (
        stops(over_totals("failing_campaign", share=0.3, hold="1h"), campaign(finished=10.0, failed=4.0))[0].hold
        == 3_600.0
    )
    assert stops(rule, campaign()) == []


def summed(rule: TotalsRule, events: Sequence[CallEvent]) -> dict[str, float]:
    """What the correlators add up of events."""
    told = {name: [measure.of(one) or 0 for one in events] for name, measure in rule.measures.items()}
    return {name: sum(amounts) / MILLION for name, amounts in told.items()}


def test_low_quality_counts_scores_short_talks_and_machines() -> None:
    rule = over_totals("low_quality", least_score=3.0, score="quality.points", sample=2)
    poor = [event(f"a{n}", type=EventType.ANALYSIS, analysis={"quality": {"points": n}}) for n in (1, 2)]
    (stop,) = stops(rule, campaign(sums=summed(rule, poor)))
    assert stop.reason == "the mean of 2 scores is 1.50, below 3"
    short = [*webhook("ringg/call_completed", call_duration=3.5), *webhook("ringg/call_completed", call_duration=4.5)]
    (stop,) = stops(rule, campaign(sums=summed(rule, short)))
    assert stop.reason == "100% of 2 talks were shorter than 10 s"
    machines = [*webhook("bland/post_call_voicemail"), *webhook("vapi/status_update_ended_voicemail")]
    (stop,) = stops(rule, campaign(sums=summed(rule, machines)))
    assert stop.reason == "machines answered 100% of 2 calls"
    well = [*webhook("ringg/call_completed"), *webhook("bland/post_call_analysed"), *webhook("bland/post_call")]
    assert stops(rule, campaign(sums=summed(rule, well))) == []
    careful = over_totals("low_quality", least_score=3.0, score="quality.points")
    assert stops(careful, campaign(sums=summed(careful, poor))) == []  # two are too few to tell by


def test_two_rules_with_other_params_add_up_other_things() -> None:
    one, two = over_totals("low_quality"), over_totals("low_quality", short="5s")
    assert one.hash != two.hash
    assert {m.name for m in one.measures.values()}.isdisjoint(m.name for m in two.measures.values())


def test_budget_stops_what_has_spent_it() -> None:
    rule = over_totals("budget", cost=10)
    assert rule.over == Over("campaign", DAY, 1)
    (stop,) = stops(rule, campaign(cost=10.0))
    assert (stop.scope, stop.hold, stop.reason) == (
        Scope.campaign("k"),
        None,
        "a cost of 10.00 has reached the budget of 10",
    )
    assert stops(rule, campaign(cost=9.99, seconds=9e9)) == []
    assert len(stops(over_totals("budget", minutes=2), campaign(seconds=120.0))) == 1
    per_account = over_totals("budget", cost=1).with_over(Over("account", "24h"))
    spent = Totals(ACCOUNT, "account", "", 60.0, cost=2.0, heard_of={"campaign": ("a", "b")})
    assert [one.scope for one in stops(per_account, spent)] == [Scope.campaign("a"), Scope.campaign("b")]


def registered(at: float | None, number: str = NUMBER) -> list[CallEvent]:
    return [event("e1", Status.REGISTERED, type=EventType.QUEUED, number=number, at=at, logged_at=NOON_IN_INDIA)]


def test_calling_hours_are_those_of_the_numbers_own_zone() -> None:
    rule = built_in("calling_hours")
    midnight = NOON_IN_INDIA - 13 * 3_600
    stop = asked(rule, registered(midnight))
    assert stop is not None
    assert (stop.scope, stop.hold) == (Scope.calls(["call-1"]), 0.0)
    assert stop.reason == "it is Sunday 00:00 in Asia/Calcutta, outside calling hours"
    assert asked(rule, registered(None)) is None  # the broker's time where the provider gives none
    assert asked(rule, registered(midnight, "+14155550123")) is None  # 10:30 in California
    assert asked(rule, registered(NOON_IN_INDIA, "+14155550123")) is not None
    assert asked(built_in("calling_hours", days=["mon", "tue"]), registered(NOON_IN_INDIA)) is not None
    assert asked(built_in("calling_hours", start="14:00", end=1260), registered(NOON_IN_INDIA)) is not None


def test_calling_hours_stop_only_what_waits_and_only_where_they_are_sure_unless_told_otherwise() -> None:
    night = NOON_IN_INDIA - 13 * 3_600
    over = [event("e1", Status.COMPLETED, type=EventType.FINISHED, number=NUMBER, at=night)]
    assert asked(built_in("calling_hours"), over) is None
    assert asked(built_in("calling_hours"), webhook("ringg/callback_registered")) is None
    unknown = registered(night, "+8001234567890")
    assert not set(zones_of("+8001234567890")) & {"Asia/Calcutta"}
    assert asked(built_in("calling_hours"), unknown) is None
    assert asked(built_in("calling_hours", unsure="stop"), unknown) is not None


def test_too_many_attempts_stop_the_call_that_waits_for_the_next() -> None:
    retries = [event(f"e{n}", Status.RETRY, type=EventType.FINISHED, attempt=n) for n in range(3)]
    assert asked(built_in("too_many_attempts"), retries[:2]) is None
    stop = asked(built_in("too_many_attempts"), retries)
    assert stop is not None
    assert (stop.scope, stop.hold) == (Scope.calls(["call-1"]), 0.0)
    assert stop.values == {"call.attempts_finished": 3, "params.attempts": 3}
    assert asked(built_in("too_many_attempts", attempts=1), webhook("ringg/call_completed_retry")) is not None
    over = [*retries, event("e9", Status.COMPLETED, type=EventType.FINISHED, attempt=3)]
    assert built_in("too_many_attempts")(over[-1], folded(*over)) is None


def test_no_events_tells_of_a_campaign_whose_calls_wait_in_silence() -> None:
    rule = configured(find("no_events"), name="silent", params={"after": "10m", "open": 5})
    assert isinstance(rule, SilenceRule)
    said = rule.evaluate(Silence(ACCOUNT, "k", 600.0, 5))
    assert said is not None
    assert "nothing has been heard of campaign k of acme-ringg for 10m" in said
    assert rule.evaluate(Silence(ACCOUNT, "k", 599.0, 5)) is None
    assert rule.evaluate(Silence(ACCOUNT, "k", 600.0, 4)) is None


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("budget", {}, "a budget needs `cost`, `minutes` or both"),
        ("budget", {"costs": 3}, "there is no 'costs'; did you mean 'cost'?"),
        ("budget", {"zzz": 3}, "there is no 'zzz'; there are cost, minutes, hold"),
        ("budget", {"cost": "10"}, "params.cost: it should be a valid number"),
        ("budget", {"cost": True}, "params.cost: it should be a valid number"),
        ("budget", {"cost": 0}, "params.cost: it should be greater than 0"),
        ("too_many_attempts", {"attempts": 2.5}, "params.attempts: it should be a valid integer"),
        ("failing_campaign", {"share": 2}, "params.share: it should be less than or equal to 1"),
        ("duplicate_contact", {"within": "world"}, "params.within: it should be 'campaign' or 'account'"),
        ("duplicate_contact", {"hold": "long"}, "params.hold: this is not a duration"),
        ("no_events", {"after": 30}, "params.after: a duration needs a unit"),
        ("calling_hours", {"start": "9"}, "params.start: write a time of day, such as 09:00"),
        ("calling_hours", {"start": "21:00", "end": "09:00"}, "`start` is not before `end`"),
        ("calling_hours", {"days": ["monday"]}, "params.days.0"),
        ("opt_out", {"hold": "1d"}, "it takes no `params`"),
    ],
)
def test_params_that_a_rule_does_not_take_are_refused_with_those_that_it_does(
    name: str, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(RuleError) as refused:
        configured(find(name), name=name, params=params)
    assert says in str(refused.value)


def test_a_built_in_rule_that_needs_params_says_so_where_it_has_none() -> None:
    bare = find("budget")
    assert isinstance(bare, TotalsRule)
    with pytest.raises(RuleError, match="'budget' is not configured: params: a budget needs"):
        bare(campaign())
