from consumer.model.calls import SEEN_BYTES, SEEN_EVENTS, fold
from consumer.model.events import CallEvent, Position
from consumer.model.identity import body_event_id
from consumer.model.status import EventType, Status
from tests.unit.values import event, folded


def test_a_duplicate_gives_back_the_very_same_call() -> None:
    call = folded(event("a", Status.REGISTERED))
    assert fold(call, event("a", Status.REGISTERED, logged_at=9.0)) is call


def test_a_duplicate_is_recognised_among_the_last_events_only() -> None:
    start = event("start", Status.ONGOING)
    others = [event(f"other {n}") for n in range(SEEN_EVENTS)]
    call = folded(start, *others[:-1])
    assert fold(call, start) is call
    assert fold(fold(call, others[-1]), start) is not call


def test_events_are_told_apart_by_the_hashes_in_their_ids_and_by_ids_that_only_look_like_such() -> None:
    one, two = (body_event_id("acme", body) for body in (b"1", b"2"))
    ids = [one, two, "body-", "body-12", "body-12 4", "body-zz", "zz", f" {one}", one.upper()]
    call = folded(*(event(event_id) for event_id in ids))
    assert len(call.seen) == SEEN_BYTES * len(ids)
    assert all(fold(call, event(event_id)) is call for event_id in ids)


def test_an_analysis_that_tells_of_an_end_again_leaves_the_progress_as_it_was() -> None:
    end = event("a", Status.COMPLETED, attempt=0, at=5.0, duration_seconds=3.5, cost=0.25)
    call = folded(end)
    again = fold(call, end.replaced(event_id="b", type=EventType.ANALYSIS, duration_seconds=3.0))
    assert again is not call
    assert again.progress is call.progress
    longer = fold(again, end.replaced(event_id="c", duration_seconds=4.0))
    assert (longer.seconds, longer.cost) == (4.0, 0.25)


def test_one_call_completes_once_per_attempt() -> None:
    call = folded(
        event("a", Status.REGISTERED, logged_at=1.0),
        event("b", Status.ONGOING, type=EventType.STARTED, logged_at=2.0),
        event("c", Status.RETRY, attempt=0, duration_seconds=3.5, cost=0.25, logged_at=3.0),
        event("d", Status.ONGOING, type=EventType.STARTED, logged_at=4.0),
        event("e", Status.COMPLETED, attempt=1, duration_seconds=10.0, cost=0.5, connected=True, logged_at=5.0),
    )
    assert (call.status, call.attempt, call.episode, call.attempts_finished) == (Status.COMPLETED, 1, 1, 2)
    assert (call.seconds, call.cost, call.connected) == (13.5, 0.75, True)
    assert (call.first_at, call.last_at) == (1.0, 5.0)


def test_a_retry_opens_a_new_episode_and_forgets_what_was_decided_for_the_old_one() -> None:
    waiting = folded(event("a", Status.REGISTERED, logged_at=10.0)).with_decided(("order-1",))
    assert (waiting.episode, waiting.since, waiting.decided) == (0, 10.0, ("order-1",))
    again = fold(waiting, event("b", Status.RETRY, attempt=0, logged_at=20.0))
    assert (again.terminable, again.episode, again.since, again.decided) == (True, 1, 20.0, ())


def test_a_late_event_of_the_same_episode_keeps_what_was_decided() -> None:
    waiting = folded(event("a", Status.RETRY, attempt=0, logged_at=20.0)).with_decided(("order-1",))
    later = fold(waiting, event("b", Status.REGISTERED, logged_at=30.0))
    assert (later.status, later.since, later.decided) == (Status.RETRY, 20.0, ("order-1",))


def test_two_reports_of_one_start_begin_no_second_attempt() -> None:
    call = folded(
        event("a", Status.ONGOING),
        event("same start, other bytes", Status.ONGOING),
        event("b", Status.FAILED, attempt=0),
    )
    assert (call.status, call.attempt) == (Status.FAILED, 0)


def test_a_start_whose_webhook_is_lost_leaves_the_call_waiting_until_the_attempt_ends() -> None:
    call = folded(event("a", Status.RETRY, attempt=0), event("b", Status.ONGOING))  # the start of attempt 0 or of 1
    assert (call.status, call.attempt) == (Status.RETRY, 0)
    assert fold(call, event("c", Status.COMPLETED, attempt=1)).status is Status.COMPLETED


def test_a_terminal_call_stays_terminal_for_that_attempt_and_lives_on_in_the_next() -> None:
    over = folded(event("a", Status.FAILED, attempt=0))
    for late in (
        event("b", Status.ONGOING, attempt=0),
        event("c", Status.ONGOING),
        event("d", Status.RETRY, attempt=0),
    ):
        assert fold(over, late).status is Status.FAILED
    assert fold(over, event("e", Status.ONGOING, attempt=1)).status is Status.ONGOING


def test_of_two_final_statuses_of_one_attempt_the_later_one_stands() -> None:
    failed, completed = event("a", Status.FAILED, attempt=0, at=20.0), event("b", Status.COMPLETED, attempt=0, at=10.0)
    assert folded(failed, completed).status is folded(completed, failed).status is Status.FAILED


def test_cost_that_only_the_second_report_of_an_attempt_has_is_counted() -> None:
    plain = event("callback", Status.COMPLETED, attempt=0, duration_seconds=15.0)
    priced = event("webhook", Status.COMPLETED, attempt=0, duration_seconds=15.0, cost=0.15)
    for events in ((plain, priced), (priced, plain)):
        assert (folded(*events).seconds, folded(*events).cost) == (15.0, 0.15)


def test_a_cancelled_attempt_never_took_place() -> None:
    call = folded(event("a", Status.REGISTERED), event("b", Status.CANCELLED))
    assert (call.status, call.attempts_finished, call.terminable) == (Status.CANCELLED, 0, False)


def test_events_without_a_status_fill_in_what_is_missing_and_change_nothing_else() -> None:
    call = folded(event("a", position=Position("call-events", 0, 7)))
    assert (call.status, call.terminable, call.attempt, call.history) == (None, False, 0, (7,))
    call = fold(call, event("b", number="+918882876897", campaign_id="c", position=Position("call-events", 0, 9)))
    call = fold(call, event("c", number="+910000000000"))
    assert (call.number, call.campaign_id, call.history) == ("+918882876897", "c", (7, 9))


def a_look(status: Status, at: float) -> CallEvent:
    return event(f"look {status} {at}", status, source="history", at=at, logged_at=at)


def test_a_look_into_the_history_is_taken_relative_to_what_is_known() -> None:
    call = folded(event("a", Status.RETRY, attempt=0, logged_at=10.0))
    ongoing = fold(call, a_look(Status.ONGOING, 20.0))
    assert (ongoing.status, ongoing.attempt, ongoing.episode) == (Status.ONGOING, 1, 1)
    assert fold(call, a_look(Status.REGISTERED, 20.0)).status is Status.RETRY
    assert fold(ongoing, a_look(Status.COMPLETED, 30.0)).status is Status.COMPLETED


def test_a_look_that_is_older_than_the_last_webhook_says_nothing() -> None:
    call = folded(event("a", Status.RETRY, attempt=0, logged_at=10.0))
    assert fold(call, a_look(Status.ONGOING, 9.0)).status is Status.RETRY


def test_a_look_never_counts_as_a_start_of_its_own() -> None:
    call = folded(
        event("a", Status.REGISTERED, logged_at=1.0),
        a_look(Status.ONGOING, 2.0),
        event("b", Status.ONGOING, logged_at=3.0),
        event("c", Status.RETRY, attempt=0, logged_at=4.0),
    )
    assert (call.status, call.episode) == (Status.RETRY, 1)
