"""Rules over totals as guard asks them: sums of all partitions, the orders so far, and time from the records."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.guard.ask_totals import Asked, Moment, TotalsRules
from consumer.guard.sums import SCHEMA, Sums
from consumer.kafka.order_book import StoredOrderBook
from consumer.model import Over, Stop, Totals, TotalsRule, rule
from consumer.model.matches import Match
from consumer.model.orders import Fact, FactKind, Mode, OrderState, StopOrder
from consumer.model.rules import configured
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.stops import Aim
from consumer.model.throttles import Matches, Throttle
from consumer.model.totals import ScopeTotals
from handlers.rules.cel_totals import cel_totals_rule
from tests.unit.values import ACCOUNT, OPERATOR

CAMPAIGN = (ACCOUNT, "campaign", "k")
HOUR = 3_600.0
M = 60
WORD: dict[str, Any] = {"campaign/a": 1.0, "campaign/b": 2.0, "agent/x": 1.0}


@rule(over=Over("campaign", window="10m", at_least=50), name="failing")
def failing(totals: Totals) -> Stop | None:
    if totals.failed > 0.4 * totals.finished:
        return Stop.campaign(totals.name, reason="most calls fail")
    return None


class Guarded:
    """Sums and orders of one account, and the rules asked about them."""

    def __init__(self, *rules: TotalsRule) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.executescript(SCHEMA)
        self.sums = Sums(self.connection)
        self.book = StoredOrderBook()
        self.rules = TotalsRules(rules)
        self.minute = 0
        self._offset = 0

    def counted(self, minute: int, source: int = 0, of: tuple[str, str] = ("campaign", "k"), **figures: float) -> None:
        """A partition has counted so much in a minute so far (minutes from 1)."""
        self._offset += 1
        self.minute = max(self.minute, minute * M)
        sums = {key: value for key, value in figures.items() if "/" in key or key == "score"}
        own = {key: value for key, value in figures.items() if key not in sums}
        self.sums.put(ScopeTotals(ACCOUNT, *of, source, self._offset, minute * M, None, own, sums))
        self.sums.save(self.connection)

    def asked(self, scope: tuple[str, str, str] = CAMPAIGN, at: float | None = None) -> Asked:
        now = self.minute + 30.0 if at is None else at
        return self.rules.ask(Moment(scope, self.minute, now), self.sums, self.book)

    def ordered(self, scope: tuple[str, str, str] = CAMPAIGN, at: float | None = None) -> list[StopOrder]:
        asked = self.asked(scope, at)
        assert asked.failures == []
        return asked.orders

    def fact(self, order: StopOrder, kind: FactKind, at: float) -> None:
        self._offset += 1
        self.book.put_fact(Fact(order.order_id, kind, OPERATOR, "because", at), self._offset)

    def admitted(self, order: StopOrder, at: float) -> None:
        self._offset += 1
        self.book.put_order(_at(order, at), self._offset)
        self.fact(order, FactKind.ADMITTED, at)


def _at(order: StopOrder, at: float) -> StopOrder:
    return StopOrder(**{name: getattr(order, name) for name in StopOrder.__slots__} | {"at": at})


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    stage = Guarded(failing)
    yield stage
    stage.connection.close()


def test_a_rule_over_totals_stops_its_scope_once_all_partitions_together_say_so(guarded: Guarded) -> None:
    guarded.counted(1, source=0, finished=25, failed=20)
    assert guarded.ordered() == []  # 25 attempts are too few
    guarded.counted(2, source=1, finished=25, failed=0)
    assert guarded.ordered() == []  # 20 of 50 are not too many
    guarded.counted(2, source=1, finished=26, failed=1)
    (order,) = guarded.ordered()
    assert (order.account, order.scope, order.reason, order.hold) == (
        ACCOUNT,
        Scope.campaign("k"),
        "most calls fail",
        None,
    )
    assert (order.by.kind, order.by.name, order.by.hash) == ("rule", "failing", failing.hash)
    assert order.explanation is not None
    assert order.explanation["over"] == {
        "scope": "campaign",
        "window_seconds": 600.0,
        "at_least": 50,
        "first_minute": -7 * M,
        "last_minute": 2 * M,
    }


def test_the_same_records_give_the_same_order(guarded: Guarded) -> None:
    again = Guarded(failing)
    for stage in (guarded, again):
        stage.counted(3, finished=60, failed=50)
    assert guarded.ordered() == again.ordered()
    again.connection.close()


def test_what_has_left_the_window_counts_no_more(guarded: Guarded) -> None:
    guarded.counted(1, finished=60, failed=60)
    guarded.counted(10, finished=1)
    assert len(guarded.ordered()) == 1
    other = Guarded(failing)
    other.counted(1, finished=60, failed=60)
    other.counted(11, finished=1)
    assert other.ordered() == []
    other.connection.close()


def test_an_order_that_stands_is_not_repeated_nor_one_that_is_on_its_way(guarded: Guarded) -> None:
    guarded.counted(1, finished=60, failed=60)
    (order,) = guarded.ordered(at=90.0)
    guarded.counted(2, finished=60, failed=60)
    assert guarded.ordered(at=95.0) == []  # nobody has read it yet
    guarded.admitted(order, 96.0)
    guarded.counted(3, finished=60, failed=60)
    assert guarded.ordered(at=200.0) == []


def test_once_released_a_rule_counts_anew(guarded: Guarded) -> None:
    guarded.counted(1, finished=60, failed=60)
    (order,) = guarded.ordered()
    guarded.admitted(order, 70.0)
    guarded.fact(order, FactKind.RELEASED, 130.0)
    guarded.counted(2, finished=60, failed=60)
    guarded.counted(3, finished=49, failed=49)
    assert guarded.ordered(at=210.0) == []  # what failed before the release is dealt with, and 49 are too few
    guarded.counted(3, finished=50, failed=50)
    (second,) = guarded.ordered(at=211.0)
    assert second.order_id != order.order_id


def test_an_order_in_shadow_stands_in_no_ones_way_once_the_rule_enforces() -> None:
    stage = Guarded(configured(failing, name="failing", mode=Mode.SHADOW))
    stage.counted(1, finished=60, failed=60)
    (order,) = stage.ordered()
    assert order.mode is Mode.SHADOW
    stage.admitted(order, 70.0)
    assert stage.ordered() == []
    stage.rules = TotalsRules([failing])
    assert [one.mode for one in stage.ordered()] == [Mode.ENFORCE]
    stage.connection.close()


def test_once_per_and_cool_down_keep_a_rule_from_the_next_order() -> None:
    for throttle, quiet_until in ((Throttle(once_per=HOUR), 70 + HOUR), (Throttle(cool_down=HOUR), 130 + HOUR)):
        stage = Guarded(configured(failing, name="failing", throttle=throttle))
        stage.counted(1, finished=60, failed=60)
        (order,) = stage.ordered()
        stage.admitted(order, 70.0)
        stage.fact(order, FactKind.RELEASED, 130.0)
        stage.counted(5, finished=60, failed=60)
        assert stage.ordered(at=quiet_until - 1) == []
        assert len(stage.ordered(at=quiet_until)) == 1
        stage.connection.close()


def test_a_rule_that_takes_several_matches_matches_once_a_minute() -> None:
    stage = Guarded(configured(failing, name="failing", throttle=Throttle(matches=Matches(2, 300.0))))
    stage.counted(1, finished=60, failed=60)
    asked = stage.asked()
    assert (asked.orders, len(asked.matches)) == ([], 1)
    match: Match = asked.matches[0]
    assert (match.rule, match.scope, match.event_id, match.at) == ("failing", {"campaign_id": "k"}, "minute/60", 60.0)
    assert stage.asked().matches == asked.matches  # the same record, which counts once
    stage.connection.close()


def test_a_rule_that_raises_is_recorded_once_a_minute_and_holds_where_it_is_told_to() -> None:
    @rule(over=Over("campaign", window="10m"))
    def broken(totals: Totals) -> Stop | None:
        raise LookupError("lost")

    stage = Guarded(broken, configured(broken, name="safe", on_error="hold", aim=Aim(ScopeKind.CAMPAIGN, HOUR)))
    stage.counted(1, finished=1)
    asked = stage.asked()
    assert [(one.rule, one.error) for one in asked.failures] == [
        ("broken", "LookupError: lost"),
        ("safe", "LookupError: lost"),
    ]
    (order,) = asked.orders
    assert (order.by.name, order.scope, order.hold) == ("safe", Scope.campaign("k"), HOUR)
    assert order.explanation is not None
    assert order.explanation["error"] == "LookupError: lost"
    assert stage.asked() == Asked()
    stage.connection.close()


def test_totals_of_an_account_stop_the_campaigns_there_was_word_of_each_for_itself() -> None:
    budget = cel_totals_rule(
        "budget",
        "totals.cost > 10",
        over=Over("account", "1d", 0),
        aim=Aim(ScopeKind.CAMPAIGN, None),
        reason="spent",
        params={},
        measures={},
    )
    stage = Guarded(budget)
    stage.counted(1, of=("account", ""), cost=11.0, **WORD)
    account = (ACCOUNT, "account", "")
    one, two = stage.ordered(account)
    assert (one.scope, two.scope) == (Scope.campaign("a"), Scope.campaign("b"))
    stage.admitted(one, 70.0)
    stage.admitted(two, 70.0)
    stage.fact(one, FactKind.RELEASED, 100.0)
    stage.counted(3, of=("account", ""), cost=5.0, **WORD)
    assert stage.ordered(account, at=200.0) == []  # released: what was spent before counts no more for this one
    record = stage.book.get(two.order_id)
    assert record is not None
    assert record.state(200.0) is OrderState.IN_FORCE
    stage.connection.close()


def test_sums_of_events_reach_the_rule_under_its_own_names() -> None:
    @rule(over=Over("campaign", window="10m"), measures={"points": "analysis.score", "odd": lambda e: e.cost})
    def summing(totals: Totals) -> Stop | None:
        return Stop.campaign(totals.name, reason="spent") if totals.sums["points"] > 2 > totals.sums["odd"] else None

    assert [measure.path for measure in summing.measures.values()] == [("analysis", "score"), ()]
    key = summing.measures["points"].name
    stage = Guarded(summing)
    stage.counted(1, finished=1)
    assert stage.ordered() == []
    stage.sums.put(ScopeTotals(*CAMPAIGN, 1, 99, 60, None, {"finished": 1}, {key: 2.5}))
    assert len(stage.ordered()) == 1
    stage.connection.close()


def test_a_rule_that_takes_too_long_three_times_in_a_row_is_asked_no_more() -> None:
    @rule(over=Over("campaign", window="10m"))
    def slow(totals: Totals) -> Stop | None:
        return None

    stage = Guarded(configured(slow, name="slow", budget_seconds=1e-9))
    for minute in (1, 2, 3):
        assert "slow" not in stage.rules.given_up
        stage.counted(minute, finished=1)
        asked = stage.asked()
    assert "3 times in a row" in asked.failures[0].error
    (alert,) = stage.rules.alerts({}, 5.0)
    assert (alert.name.startswith("slow-rule/slow/"), alert.active) == (True, True)
    assert stage.rules.alerts({}, 6.0) == []  # said once
    stage.counted(4, finished=1)
    assert stage.asked() == Asked()
    stage.connection.close()
