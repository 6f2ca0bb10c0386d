"""The calls of a partition as their view keeps them."""

import random
from pathlib import Path
from zlib import crc32

import pytest

from consumer.correlate.calls import SCHEMA, Calls, Keeping
from consumer.correlate.due import FORGET
from consumer.correlate.keep import QUIET_SECONDS, Keeper
from consumer.kafka.view import View
from consumer.model.calls import Call, carried_on, fold
from consumer.model.status import Status
from tests.unit.values import ACCOUNT, event, folded, waiting_call

DAY = 86_400.0
KEEPING = Keeping(forget_seconds=3 * DAY, carry_seconds=3.5 * DAY)


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")


def keep(view: View, *calls: Call) -> Calls:
    """Put calls into a view, and open it anew."""
    into = Calls(view.connection, KEEPING)
    for call in calls:
        into.put(call, None)
    save(into, view)
    return Calls(view.connection, KEEPING)


def save(calls: Calls, view: View) -> None:
    with view.transaction({}) as connection:
        while calls.save(connection):
            pass


def waiting(calls: Calls, key: tuple[str, ...], *, limit: int = 2) -> list[Call]:
    return [call for page in calls.waiting(ACCOUNT, key, limit=limit) for call in page]


def everything_waiting(calls: Calls, key: tuple[str, ...]) -> list[str]:
    return [call.call_id for call in waiting(calls, key)]


def test_a_call_comes_back_as_it_was_put(view: View) -> None:
    call = waiting_call("c", campaign_id="k", agent_id="a", number="+15550000001", logged_at=5.0).with_decided(("o",))
    calls = keep(view, call)
    assert calls.get(ACCOUNT, "c") == call
    assert calls.get(ACCOUNT, "d") is None
    assert calls.get("another", "c") is None


def test_waiting_calls_are_found_by_every_key_and_page_by_page(view: View) -> None:
    many = [waiting_call(f"c{n}", campaign_id="k", agent_id="a", number="+15550000001") for n in range(5)]
    calls = keep(view, *many, waiting_call("other", campaign_id="l", agent_id="b", number="+15550000002"))
    names = [call.call_id for call in many]
    for key in (("campaign", "k"), ("agent", "a"), ("number", "+15550000001"), ("number", "+15550000001", "k")):
        assert everything_waiting(calls, key) == names
    assert everything_waiting(calls, ("call", "other")) == ["other"]


def test_a_call_that_waits_no_more_is_found_by_no_key_and_waits_again_in_its_next_episode(view: View) -> None:
    registered = event("1", Status.REGISTERED, campaign_id="k", attempt=0)
    ongoing = event("2", Status.ONGOING, attempt=0)
    retry = event("3", Status.RETRY, attempt=0)
    calls = keep(view, folded(registered))
    for events, found in (((registered, ongoing), []), ((registered, ongoing, retry), ["call-1"])):
        before = calls.get(ACCOUNT, "call-1")
        calls.put(folded(*events), before)
        save(calls, view)
        assert everything_waiting(calls, ("campaign", "k")) == found
    assert calls.count() == (1, 1)


@pytest.mark.parametrize("seed", range(10))
def test_rows_that_changed_in_many_steps_are_those_of_calls_written_once(view: View, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    calls, latest = Calls(view.connection, KEEPING, at_hand=3), dict[str, Call]()
    for n in range(300):
        call_id = f"c{chance.randrange(80)}"
        said = event(
            str(n),
            chance.choice([*Status, None]),
            call_id=call_id,
            attempt=chance.choice([None, 0, 1, 2]),
            logged_at=n * 900.0,
            campaign_id=chance.choice([None, "k"]),
            number=chance.choice([None, "+15550000001"]),
        )
        before = calls.get(ACCOUNT, call_id)
        assert before == latest.get(call_id)
        latest[call_id] = fold(before, said)
        calls.put(latest[call_id], before)
        if chance.random() < 0.5:
            save(calls, view)
    save(calls, view)
    once = View(tmp_path / "once.sqlite", SCHEMA, cluster_id="c")
    anew = keep(once, *latest.values())
    number = f"iif(due < {FORGET}, number, NULL)"  # of a call that has ended nobody looks for it
    rows = f"SELECT hash, cohort, {number}, due, state FROM calls ORDER BY hash"
    assert view.connection.execute(rows).fetchall() == once.connection.execute(rows).fetchall()
    assert calls.count() == anew.count() == (len(latest), sum(call.terminable for call in latest.values()))
    once.close()


def two_of_one_hash(prefix: str) -> tuple[str, str]:
    """Find two names that hash to one value behind the prefix; one in some 100,000 does."""
    chance = random.Random(7)
    names: dict[int, str] = {}
    while True:
        name = chance.randbytes(8).hex()
        other = names.setdefault(crc32(f"{prefix}/{name}".encode()), name)
        if other != name:
            return name, other


def test_a_call_that_is_at_hand_no_more_keeps_its_row(view: View) -> None:
    keep(view, *(waiting_call(f"c{n}", campaign_id="k") for n in range(10)))
    calls = Calls(view.connection, KEEPING, at_hand=2)
    looked_at = waiting(calls, ("campaign", "k"))
    for call in looked_at:
        calls.put(call.with_decided(("o",)), call)
    save(calls, view)
    rows = view.connection.execute("SELECT count(*) FROM calls").fetchone()
    assert rows == (10,) == (calls.count()[0],)
    again = Calls(view.connection, KEEPING)
    assert all((again.get(ACCOUNT, f"c{n}") or call).decided == ("o",) for n, call in enumerate(looked_at))


def test_a_call_that_is_being_dialled_is_left_in_its_place_until_it_ends(view: View) -> None:
    waits = event("e1", Status.REGISTERED, campaign_id="k", logged_at=1.0)
    dialled = folded(waits, event("e2", Status.ONGOING, logged_at=2.0))
    calls = keep(view, dialled)
    assert everything_waiting(calls, ("campaign", "k")) == []
    (column,) = view.connection.execute("SELECT cohort FROM calls").fetchone()
    assert column is not None


def test_a_call_that_began_and_never_ended_is_forgotten_in_the_end(view: View) -> None:
    calls = keep(view, folded(event("e1", Status.REGISTERED), event("e2", Status.ONGOING, logged_at=1.0)))
    keeper = Keeper(calls, KEEPING)
    keeper.reached(3.6 * DAY)
    assert keeper.work(3.6 * DAY) == []
    assert calls.count() == (0, 0)


def test_two_campaigns_of_one_hash_are_told_apart_by_whoever_asks(view: View) -> None:
    one, two = two_of_one_hash("campaign/" + ACCOUNT)
    calls = keep(view, waiting_call("one", campaign_id=one), waiting_call("two", campaign_id=two))
    found = waiting(calls, ("campaign", one))
    assert {call.call_id: call.campaign_id for call in found} == {"one": one, "two": two}


def test_a_campaign_has_the_calls_of_all_its_agents_and_an_agent_those_of_all_its_campaigns(view: View) -> None:
    calls = keep(
        view,
        waiting_call("k-a", campaign_id="k", agent_id="a"),
        waiting_call("k-b", campaign_id="k", agent_id="b"),
        waiting_call("l-a", campaign_id="l", agent_id="a"),
        waiting_call("k", campaign_id="k"),
        waiting_call("a", agent_id="a"),
        waiting_call("neither"),
    )
    assert sorted(everything_waiting(calls, ("campaign", "k"))) == ["k", "k-a", "k-b"]
    assert sorted(everything_waiting(calls, ("agent", "a"))) == ["a", "k-a", "l-a"]
    assert everything_waiting(calls, ("campaign", "a")) == []


def test_a_look_at_all_waiting_calls_passes_over_what_has_been_forgotten(view: View) -> None:
    calls = keep(view, *(finished(f"c{n}", logged_at=n * 0.01) for n in range(500)), waiting_call("w", logged_at=5.0))
    with view.transaction({}) as connection:
        connection.execute("DELETE FROM calls WHERE id BETWEEN 20 AND 480")
    found, places, after = list[str](), 0, 0
    while True:
        page, after = calls.all_waiting(after=after, limit=10)
        found += [call.call_id for call in page]
        places += 1
        if not after:
            break
    assert found == ["w"]
    assert places <= 6


def test_a_call_that_is_told_its_campaign_late_is_found_by_it(view: View) -> None:
    registered = event("1", Status.REGISTERED, attempt=0, agent_id="a")
    calls = keep(view, folded(registered))
    calls.put(folded(registered, event("2", campaign_id="k")), calls.get(ACCOUNT, "call-1"))
    save(calls, view)
    for key in (("campaign", "k"), ("agent", "a")):
        assert everything_waiting(calls, key) == ["call-1"]


def test_cohorts_that_no_call_waits_in_are_forgotten_with_the_calls_and_come_back_with_new_ones(view: View) -> None:
    calls = keep(view, *(finished(f"c{n}", logged_at=DAY, campaign_id=f"k{n}") for n in range(3)))
    for n in range(3):
        calls.put(waiting_call(f"w{n}", campaign_id=f"k{n}", logged_at=DAY), None)
    save(calls, view)
    for n in (0, 1):
        before = calls.get(ACCOUNT, f"w{n}")
        assert before
        calls.put(fold(before, event("over", Status.COMPLETED, call_id=f"w{n}", attempt=0, logged_at=DAY)), before)
    save(calls, view)
    keeper = Keeper(calls, KEEPING)
    keeper.reached(5 * DAY)
    assert not keeper.work(now=2 * DAY)
    save(calls, view)
    assert calls.count() == (1, 1)
    assert view.connection.execute("SELECT count(*) FROM cohorts").fetchone() == (1,)
    assert everything_waiting(calls, ("campaign", "k2")) == ["w2"]
    calls.put(waiting_call("again", campaign_id="k0", logged_at=5 * DAY), None)
    save(calls, view)
    assert everything_waiting(calls, ("campaign", "k0")) == ["again"]


def test_in_a_view_of_many_calls_every_one_is_met_while_its_hashes_are_still_being_read(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.correlate.heard_of.READ_AT_ONCE", 7)
    names = [f"c{n}" for n in range(40)]
    numbers = [f"+91111110{n:02}" for n in range(41)]
    many = [waiting_call(name, number=number) for name, number in zip([*names, "new"], numbers, strict=True)]
    calls = keep(view, *many[:-1])
    calls.put(many[-1], None)
    save(calls, view)
    for _ in range(8):
        calls.read_on()
        fresh = Calls(view.connection, KEEPING, at_hand=0)
        assert all(fresh.get(ACCOUNT, name) for name in [*names, "new"])
        assert all(calls.heard_of.may_hold(crc32(f"{ACCOUNT}/{name}".encode())) for name in [*names, "new"])
        assert all(waiting(calls, ("number", number)) for number in numbers)
    some_new = [crc32(f"{ACCOUNT}/unheard-of-{n}".encode()) for n in range(1_000)]
    assert sum(map(calls.heard_of.may_hold, some_new)) < 10
    assert sum(map(calls.numbers.may_hold, some_new)) < 10


def test_calls_of_one_hash_are_two_calls(view: View) -> None:
    one, two = (waiting_call(name) for name in two_of_one_hash(ACCOUNT))
    calls = keep(view, one, two)
    assert (calls.get(ACCOUNT, one.call_id), calls.get(ACCOUNT, two.call_id)) == (one, two)


def finished(call_id: str, *, logged_at: float, campaign_id: str | None = None) -> Call:
    said = event(call_id, Status.COMPLETED, call_id=call_id, attempt=0, logged_at=logged_at, campaign_id=campaign_id)
    return folded(said)


@pytest.mark.parametrize("number", [None, "+15550000001"])
def test_a_call_that_was_saved_while_it_waited_is_forgotten_once_it_has_ended(view: View, number: str | None) -> None:
    waits = waiting_call(logged_at=DAY)
    calls = keep(view, waits)
    calls.put(fold(waits, event("e", Status.COMPLETED, attempt=0, logged_at=DAY, number=number)), waits)
    save(calls, view)
    calls = Calls(view.connection, KEEPING)
    keeper = Keeper(calls, KEEPING)
    keeper.reached(5 * DAY)
    assert keeper.work(now=DAY) == []
    save(calls, view)
    assert calls.get(ACCOUNT, waits.call_id) is None


def test_a_call_that_waits_again_after_it_was_saved_as_over_is_found_and_written_anew_in_time(view: View) -> None:
    over = finished("call-1", logged_at=DAY)
    calls = keep(view, over)
    calls.put(fold(over, event("r", Status.RETRY, attempt=1, logged_at=DAY, number="+15550000001")), over)
    save(calls, view)
    assert everything_waiting(calls, ("number", "+15550000001")) == ["call-1"]
    keeper = Keeper(Calls(view.connection, KEEPING), KEEPING)
    assert [call.call_id for call in keeper.work(now=4.6 * DAY)] == ["call-1"]


def test_a_call_that_was_written_anew_is_due_again_only_after_that(view: View) -> None:
    waits = waiting_call(logged_at=DAY)
    calls = keep(view, waits)
    assert [call.call_id for call in Keeper(calls, KEEPING).work(now=4.6 * DAY)] == ["call-1"]
    calls.put(carried_on(waits, waits, 4.6 * DAY), waits)
    save(calls, view)
    calls = Calls(view.connection, KEEPING)
    assert Keeper(calls, KEEPING).work(now=8 * DAY) == []
    assert [call.call_id for call in Keeper(calls, KEEPING).work(now=8.2 * DAY)] == ["call-1"]


def test_calls_are_counted_before_they_are_saved(view: View) -> None:
    waits = waiting_call("call-1")
    calls = keep(view, waits)
    calls.put(waiting_call("call-2"), None)
    assert calls.count() == (2, 2)
    calls.put(fold(waits, event("e", Status.COMPLETED, attempt=0)), waits)
    assert calls.count() == (2, 1)
    save(calls, view)
    assert calls.count() == (2, 1)


def test_calls_of_many_blocks_are_forgotten_when_each_is_due_and_not_before(view: View) -> None:
    chance = random.Random(3)
    ended_at = {f"c{n}": chance.uniform(0, 20 * DAY) for n in range(5_000)}
    calls = keep(view, *(finished(name, logged_at=at) for name, at in ended_at.items()))
    keeper, now = Keeper(calls, KEEPING), 0.0
    for log_time in (4 * DAY, 10 * DAY, 30 * DAY):
        keeper.reached(log_time)
        for _ in range(40):
            now += QUIET_SECONDS
            assert keeper.work(now) == []
            save(calls, view)
            if chance.random() < 0.1:
                calls = Calls(view.connection, KEEPING)
                keeper = Keeper(calls, KEEPING)
                keeper.reached(log_time)
        kept = {name for name, at in ended_at.items() if calls.get(ACCOUNT, name)}
        due = {name for name, at in ended_at.items() if at + KEEPING.forget_seconds < log_time - 3_600}
        young = {name for name, at in ended_at.items() if at + KEEPING.forget_seconds >= log_time}
        assert young <= kept
        assert not due & kept
    assert view.connection.execute("SELECT count(*) FROM due").fetchone() == (0,)


def test_finished_calls_are_forgotten_after_their_time_by_the_clock_of_the_log(view: View) -> None:
    calls = keep(
        view, finished("old", logged_at=DAY), finished("new", logged_at=3 * DAY), waiting_call("open", logged_at=DAY)
    )
    keeper = Keeper(calls, KEEPING)
    assert not keeper.work(now=100.0)
    assert calls.count() == (3, 1)
    old, new = calls.get(ACCOUNT, "old"), calls.get(ACCOUNT, "new")
    assert old
    assert new
    assert keeper.remembers(new, 5 * DAY)
    assert not keeper.remembers(old, 5 * DAY)
    keeper.reached(5 * DAY)
    assert not keeper.work(now=100.0 + QUIET_SECONDS)
    save(calls, view)
    assert calls.count() == Calls(view.connection).count() == (2, 1)
    assert (calls.get(ACCOUNT, "old"), calls.get(ACCOUNT, "new")) == (None, new)


def test_an_open_call_is_written_anew_once_when_its_events_are_about_to_leave_the_log(view: View) -> None:
    calls = keep(view, waiting_call("open", logged_at=DAY), waiting_call("young", logged_at=4 * DAY))
    keeper = Keeper(calls, KEEPING)
    assert [call.call_id for call in keeper.work(now=4.6 * DAY)] == ["open"]
    assert keeper.work(now=4.6 * DAY + 5) == []
