"""Which calls of a partition stay in memory, and how the others are found."""

from pathlib import Path

import pytest

from consumer.correlate.calls import SCHEMA, Calls
from consumer.kafka.view import View
from consumer.model.calls import Call
from tests.unit.test_calls_in_view import KEEPING, save
from tests.unit.values import ACCOUNT, waiting_call

AT_HAND = 4


def changed(calls: Calls, *told: Call) -> None:
    """Fold something into the calls that are told of, as a shard does."""
    for call, kept in zip(told, calls.at_hand(told), strict=True):
        calls.change(kept, call if kept.call is None else kept.call.with_decided((f"order of {call.call_id}",)))


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")


def test_what_is_saved_leaves_once_there_is_too_much_and_what_is_not_saved_stays(view: View) -> None:
    calls = Calls(view.connection, KEEPING, at_hand=AT_HAND)
    many = [waiting_call(f"c{n}") for n in range(3 * AT_HAND)]
    changed(calls, *many)
    changed(calls, waiting_call("one more"))
    assert len(calls._known) == calls.unsaved == 3 * AT_HAND + 1
    save(calls, view)
    changed(calls, waiting_call("the last"))
    assert len(calls._known) <= AT_HAND + 1
    assert calls.count() == (3 * AT_HAND + 2,) * 2
    for looked_for in many:
        assert calls.get(ACCOUNT, looked_for.call_id) == looked_for
        assert len(calls._known) <= AT_HAND + 2


def test_what_has_changed_last_stays_longest(view: View) -> None:
    calls = Calls(view.connection, KEEPING, at_hand=AT_HAND)
    first, *others = [waiting_call(f"c{n}") for n in range(AT_HAND)]
    changed(calls, first, *others)
    save(calls, view)
    changed(calls, first)
    save(calls, view)
    changed(calls, waiting_call("new 1"), waiting_call("new 2"))
    calls.at_hand([])
    left = {kept.call.call_id for kept in calls._known.values() if kept.call}
    assert len(left) == AT_HAND
    assert left > {first.call_id, "new 1", "new 2"}


@pytest.mark.parametrize("count", [1, 9, 10, 11, 99, 100, 101, 250])
def test_however_many_are_looked_for_at_once_each_is_found(view: View, count: int) -> None:
    calls = Calls(view.connection, KEEPING)
    many = [waiting_call(f"c{n}") for n in range(count)]
    changed(calls, *many)
    save(calls, view)
    assert [kept.call for kept in Calls(view.connection, KEEPING).at_hand(many)] == many


def test_calls_that_the_same_orders_stop_have_their_names_in_common(view: View) -> None:
    calls = Calls(view.connection, KEEPING)
    stopped = [waiting_call(f"c{n}").with_decided(("one", "two")) for n in range(2)]
    changed(calls, *stopped)
    save(calls, view)
    found = Calls(view.connection, KEEPING).at_hand(stopped)
    assert len({id(call.decided) for call in (*stopped, *(kept.call for kept in found if kept.call))}) == 1


def test_a_call_that_begins_is_one_call_whatever_is_looked_for_meanwhile(view: View) -> None:
    calls = Calls(view.connection, KEEPING, at_hand=0)
    new = waiting_call("new")
    (kept,) = calls.at_hand([new])
    assert calls.get(ACCOUNT, "another") is None
    calls.change(kept, new)
    changed(calls, new)
    save(calls, view)
    assert (calls.count()[0], calls.get(ACCOUNT, "new")) == (1, new.with_decided(("order of new",)))
