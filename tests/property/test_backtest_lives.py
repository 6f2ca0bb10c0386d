"""A backtest folds the events of a call when somebody asks about it; what it finds must not depend on when that is."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from consumer.backtest.course import Course, Made, Setting
from consumer.backtest.plan import Plan
from consumer.backtest.recorded import Recorded
from consumer.backtest.result import all_figures
from consumer.model.codec import encode_order
from consumer.model.events import CallEvent
from consumer.model.limits import Limit, Limits
from consumer.model.orders import Mode, StopOrder
from consumer.model.rule_set import RuleSet
from consumer.model.rules import configured, rule
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import EventType, Status
from consumer.model.stops import Aim
from consumer.model.termination_codec import encode_termination_record
from handlers.rules.cel import cel_rule
from tests.unit.values import event, order

HOUR = 3_600.0


@rule
def looks_at_everything(of: CallEvent, call: object) -> None:
    """Stop nothing, but have each event folded as it comes."""


RULES = [
    configured(cel_rule(name, when, aim=Aim(scope, hold), reason="why", params={}), name=name, mode=Mode.SHADOW)
    for name, when, scope, hold in (
        ("retried", 'event.status == "retry" && call.attempts_finished >= 2', ScopeKind.CALL, 0.0),
        ("angry", "event.analysis.angry && call.number != null", ScopeKind.NUMBER, 2 * HOUR),
        ("dear", "event.cost > 0.05 && call.campaign_id != null", ScopeKind.CAMPAIGN, HOUR),
    )
]
BY_PEOPLE = order("by-people", scope=Scope.agent("a-0"), mode=Mode.ENFORCE, at=61_000.0)
LIMITS = Limits(per_account=Limit(1_000_000, 0.5, HOUR, 0))


@st.composite
def logs(draw: st.DrawFn) -> list[CallEvent]:
    """Events of a few calls over days: repeated, overtaking each other, with gaps after which a call is forgotten."""
    events = []
    logged_at = 60_000.0
    for n in range(draw(st.integers(1, 40))):
        call = draw(st.integers(0, 3))
        logged_at += draw(st.sampled_from([0.0, 1.0, 400.0, 80 * HOUR]))
        events.append(
            event(
                f"e{draw(st.integers(0, n))}",
                draw(st.sampled_from([None, *Status])),
                call_id=f"call-{call}",
                type=draw(st.sampled_from(EventType)),
                attempt=draw(st.sampled_from([None, 0, 1, 2])),
                campaign_id=draw(st.sampled_from([None, f"c-{call % 2}"])),
                agent_id=draw(st.sampled_from([None, "a-0"])),
                number=draw(st.sampled_from([None, f"+1555000000{call % 2}"])),
                at=draw(st.sampled_from([None, logged_at, logged_at - 5.0])),
                duration_seconds=draw(st.sampled_from([None, 0.1, 33.333])),
                cost=draw(st.sampled_from([None, 0.07])),
                connected=draw(st.booleans()),
                analysis=draw(st.sampled_from([{}, {}, {"angry": True}])),
                source=draw(st.sampled_from(["webhook", "webhook", "history"])),
                logged_at=logged_at,
            )
        )
    return events


def found(events: Sequence[CallEvent], *, at_once: bool, limits: Limits) -> tuple[object, ...]:
    written: list[bytes] = []

    def witness(made: Made) -> None:
        written.append(encode_order(made) if isinstance(made, StopOrder) else encode_termination_record(made))

    beside = RuleSet.of([looks_at_everything] if at_once else [])
    plan = Plan(RuleSet.of(RULES), Setting(limits=limits, start=60_500.0), beside, witness)
    tally = plan.tally()
    course = plan.course(tally, Recorded(changes=(BY_PEOPLE,)))
    for n, one in enumerate(events):
        course.take(one, ("call-events", 0, n))
        course.tidy(one.logged_at)
    course.finish()
    return (*counted(course), all_figures(tally), sorted(written))


def counted(course: Course) -> tuple[int, int, int]:
    return course.events, course.warmed_up, course.duplicates


@given(logs(), st.sampled_from([Limits(), LIMITS]))
def test_events_that_wait_to_be_folded_change_nothing(events: list[CallEvent], limits: Limits) -> None:
    assert found(events, at_once=False, limits=limits) == found(events, at_once=True, limits=limits)


def test_a_call_with_many_events_knows_a_repetition_as_the_live_fold_does() -> None:
    events = [event(f"e{n}", Status.ONGOING, attempt=0, logged_at=61_000.0 + n) for n in range(50)]
    again = [*events, *events[-20:], *events[:10]]  # it remembers those of late, and none of the first
    waiting = found(again, at_once=False, limits=Limits())
    assert waiting == found(again, at_once=True, limits=Limits())
    assert waiting[:3] == (60, 0, 20)
