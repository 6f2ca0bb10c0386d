from dataclasses import replace

import pytest

from consumer.model.orders import OrderRecord
from consumer.model.provider import Answer, HistoryPage, HistoryQuery
from consumer.model.scopes import Scope
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass
from consumer.terminate.reconcile import FIRST_SWEEP_SECONDS, NAMED_AT_ONCE, Reconciler, queries_for
from tests.unit.values import event, order

EVERY = 60.0
CAMPAIGN = HistoryQuery(campaign_id="campaign-1")
AGENT = HistoryQuery(agent_id="agent-1")
NUMBER = "+918882876897"


def orders(*scopes: Scope) -> list[OrderRecord]:
    return [OrderRecord(order(f"order-{n}", scope=scope)) for n, scope in enumerate(scopes)]


def page(*calls: tuple[str, Status], following: HistoryQuery | None = None) -> HistoryPage:
    events = tuple(event(f"history-{call_id}", status, call_id=call_id, source="history") for call_id, status in calls)
    return HistoryPage(Answer(AnswerClass.ACCEPTED), events, following)


def swept(reconciler: Reconciler, now: float) -> list[HistoryQuery]:
    """Read every page that is due; each listing has one."""
    asked = []
    while (query := reconciler.next_page((CAMPAIGN, AGENT), now)) is not None:
        asked.append(query)
        reconciler.read(page())
    return asked


def nothing_decided(_record: OrderRecord, _call_id: str) -> bool:
    return False


def test_orders_are_swept_by_campaign_by_agent_and_by_what_waits() -> None:
    assert queries_for(
        orders(
            Scope.campaign("campaign-1"),
            Scope.numbers_in_campaign("campaign-1", [NUMBER]),
            Scope.agent("agent-1"),
            Scope.numbers([NUMBER]),
            Scope.numbers(["+918882876898"]),
            Scope.calls(["call-1"]),
        )
    ) == (
        CAMPAIGN,
        AGENT,
        HistoryQuery(statuses=(Status.REGISTERED,)),
        HistoryQuery(statuses=(Status.RETRY,)),
    )


def test_the_first_sweep_leaves_the_stops_some_seconds_and_the_next_comes_when_its_time_has() -> None:
    reconciler = Reconciler(EVERY)
    assert swept(reconciler, 1_000.0) == []
    assert swept(reconciler, 1_000.0 + FIRST_SWEEP_SECONDS) == [CAMPAIGN, AGENT]
    assert swept(reconciler, 1_000.0 + FIRST_SWEEP_SECONDS + EVERY - 1) == []
    assert swept(reconciler, 1_000.0 + FIRST_SWEEP_SECONDS + EVERY) == [CAMPAIGN, AGENT]


def test_an_account_that_is_not_reconciled_reads_nothing() -> None:
    reconciler = Reconciler(None)
    for now in (0.0, 1_000.0, 9_000.0):
        assert reconciler.next_page((CAMPAIGN,), now) is None
        assert reconciler.next_named(orders(Scope.calls(["call-1"])), nothing_decided, now + 1_000) is None


def test_a_listing_is_read_to_its_last_page_one_at_a_time() -> None:
    reconciler = Reconciler(EVERY)
    reconciler.next_page((CAMPAIGN,), 1_000.0)
    assert reconciler.next_page((CAMPAIGN,), 1_010.0) == CAMPAIGN
    assert reconciler.next_page((CAMPAIGN,), 1_011.0) is None
    second = replace(CAMPAIGN, offset=100)
    reconciler.read(page(("call-1", Status.REGISTERED), following=second))
    assert reconciler.next_page((CAMPAIGN,), 1_012.0) == second
    reconciler.postponed()
    assert reconciler.next_page((CAMPAIGN,), 1_013.0) == second
    reconciler.read(page())
    assert reconciler.next_page((CAMPAIGN,), 1_014.0) is None


def test_a_page_that_cannot_be_read_is_left_until_the_next_sweep() -> None:
    reconciler = Reconciler(EVERY)
    reconciler.next_page((CAMPAIGN,), 1_000.0)
    assert reconciler.next_page((CAMPAIGN,), 1_010.0) == CAMPAIGN
    reconciler.failed()
    assert reconciler.next_page((CAMPAIGN,), 1_011.0) is None
    assert reconciler.next_page((CAMPAIGN,), 1_010.0 + EVERY) == CAMPAIGN


def test_what_was_read_before_is_no_news_until_it_has_changed() -> None:
    reconciler = Reconciler(EVERY)
    told = []
    for now, status in ((1_010.0, Status.REGISTERED), (1_080.0, Status.REGISTERED), (1_150.0, Status.CANCELLED)):
        reconciler.next_page((CAMPAIGN,), now - 10)
        if reconciler.next_page((CAMPAIGN,), now) is not None:
            pass
        told.append([one.status for one in reconciler.read(page(("call-1", status)))])
    assert told == [[Status.REGISTERED], [], [Status.CANCELLED]]


def test_calls_that_an_order_names_are_looked_up_once_in_a_while_unless_something_was_decided() -> None:
    reconciler = Reconciler(EVERY)
    (record,) = orders(Scope.calls(["decided", "unseen"]))
    since = record.since or 0.0

    def look(now: float) -> tuple[OrderRecord, str] | None:
        return reconciler.next_named([record], lambda _, call_id: call_id == "decided", now)

    assert look(since) is None
    assert look(since + FIRST_SWEEP_SECONDS) == (record, "unseen")
    assert look(since + FIRST_SWEEP_SECONDS + 1) is None
    assert look(since + FIRST_SWEEP_SECONDS + EVERY) == (record, "unseen")
    reconciler.named_later(record, "unseen")
    assert look(since + FIRST_SWEEP_SECONDS + EVERY) == (record, "unseen")


def test_an_order_that_names_many_calls_is_gone_through_in_parts() -> None:
    reconciler = Reconciler(EVERY)
    records = orders(Scope.calls([f"call-{n}" for n in range(NAMED_AT_ONCE + 1)]))
    asked: list[str] = []

    def decided(_record: OrderRecord, call_id: str) -> bool:
        asked.append(call_id)
        return True

    assert reconciler.next_named(records, decided, 2_000.0) is None
    assert len(asked) == NAMED_AT_ONCE
    assert reconciler.next_named(records, decided, 2_000.0) is None
    assert len(asked) == NAMED_AT_ONCE + 1


@pytest.mark.parametrize("other", [Scope.campaign("campaign-1"), Scope.numbers([NUMBER]), Scope.agent("agent-1")])
def test_orders_that_name_no_calls_ask_for_none(other: Scope) -> None:
    assert Reconciler(EVERY).next_named(orders(other), nothing_decided, 2_000.0) is None


def test_a_listing_that_names_the_campaign_is_news_after_one_that_does_not_and_never_the_other_way_round() -> None:
    reconciler = Reconciler(EVERY)
    waiting = HistoryQuery(statuses=(Status.REGISTERED,))
    news = []
    for sweep, (query, campaign_id) in enumerate([(waiting, None), (CAMPAIGN, "campaign-1"), (waiting, None)], start=1):
        reconciler.next_page((query,), 0.0)
        assert reconciler.next_page((query,), sweep * EVERY * 2) == query
        one = event("history-1", Status.REGISTERED, campaign_id=campaign_id, source="history")
        news.append(len(reconciler.read(HistoryPage(Answer(AnswerClass.ACCEPTED), (one,)))))
    assert news == [1, 1, 0]
