import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.control_rows import ControlChange
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_fold import Change, Forgotten
from consumer.model.controls import Alert, Control, Controls, Lever, RuleMode, RulesChanged
from consumer.model.orders import Fact, FactKind, Mode, OrderRecord
from consumer.model.scopes import Scope
from tests.unit.values import OPERATOR, RULE, order, waiting_call

IDS = ("a", "b")
AUTHORS = {"a": RULE, "b": OPERATOR}
TIMES = st.integers(1_000, 1_005).map(float)
FACTS = st.builds(
    Fact,
    order_id=st.sampled_from(IDS),
    kind=st.sampled_from(FactKind),
    by=st.just(OPERATOR),
    reason=st.just("so"),
    at=TIMES,
)
ORDERS = [order(one, scope=Scope.campaign(one), hold=2.0, by=AUTHORS[one], at=1_003.0) for one in IDS]
WRITTEN_AGAIN = st.builds(
    lambda one, at: order(one, scope=Scope.campaign(one), hold=2.0, by=AUTHORS[one], at=at), st.sampled_from(IDS), TIMES
)
TOMBSTONES = st.sampled_from(IDS).map(Forgotten)

SET: list[Control] = [
    *(Lever(engaged, "why", OPERATOR, at) for engaged in (True, False) for at in (1.0, 2.0)),
    *(RuleMode(rule, mode, "why", OPERATOR) for rule in IDS for mode in (Mode.SHADOW, Mode.CANARY, None)),
    *(Alert(name, "loud", 1.0, active) for name in IDS for active in (True, False)),
    *(RulesChanged(told, 1, {"rules": []}, OPERATOR) for told in IDS),
]
CONTROLS = st.sampled_from(
    [*(ControlChange(one.key, one) for one in SET), *(ControlChange(one.key, None) for one in SET)]
)


def book_of(changes: Sequence[Change]) -> StoredOrderBook:
    book = StoredOrderBook()
    book.fold(list(enumerate(changes)))
    return book


def shown(book: StoredOrderBook) -> dict[str, OrderRecord]:
    return {record.order.order_id: record for record in book}


@given(st.data())
def test_any_order_of_the_same_records_with_repetitions_gives_the_same_book(data: st.DataObject) -> None:
    written = data.draw(st.lists(WRITTEN_AGAIN, max_size=3))
    changes: list[Change] = [*ORDERS, *written, *data.draw(st.lists(FACTS, max_size=8))]
    again = data.draw(st.lists(st.sampled_from(changes), max_size=5))
    shuffled = data.draw(st.permutations([*changes, *again]))
    one, other = book_of(changes), book_of(shuffled)
    assert shown(one) == shown(other)
    for now in range(999, 1_010):
        for name in IDS:
            ours, theirs = one.get(name), other.get(name)
            assert ours is not None
            assert theirs is not None
            assert ours.state(now) is theirs.state(now)


@given(st.data())
def test_it_does_not_matter_where_a_fold_is_cut_and_whether_the_process_died_there(data: st.DataObject) -> None:
    changes = data.draw(st.lists(st.one_of(st.sampled_from(ORDERS), WRITTEN_AGAIN, FACTS, TOMBSTONES), max_size=12))
    cuts = data.draw(st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.booleans()), max_size=3))
    whole = book_of(changes)
    with tempfile.TemporaryDirectory() as folder:
        path, first = Path(folder, "0.sqlite"), 0
        for end, tidies, dies in [*sorted(cuts), (len(changes), False, True)]:
            part = StoredOrderBook(path)
            part.fold([(n, changes[n]) for n in range(first, min(end, len(changes)))])
            first = max(first, min(end, len(changes)))
            for _ in part.tidy() if tidies else ():
                if dies:
                    break
            part.close()
        found = StoredOrderBook(path)
        assert shown(found) == shown(whole)
        assert len(found) == len(whole) == len(shown(whole))
        for one in IDS:
            call = waiting_call(campaign_id=one)
            assert found.get(one) == whole.get(one)
            assert (
                list(found.aimed_at(call))
                == list(whole.aimed_at(call))
                == [r for r in whole if r.order.order_id == one]
            )
        found.close()


@given(st.data())
def test_controls_are_the_same_wherever_a_fold_is_cut_and_whether_the_process_died_there(data: st.DataObject) -> None:
    told = data.draw(st.lists(CONTROLS, max_size=12))
    cuts = data.draw(st.lists(st.integers(0, 12), max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path, first = Path(folder, "0.sqlite"), 0
        for end in [*sorted(cuts), len(told)]:
            part = StoredOrderBook(path)
            part.fold([], controls=told[first:end])
            first = max(first, end)
            stand = part.controls
            part.close()
    assert stand == Controls().with_all(told)
    last = dict(told)
    lever = last.get(b"lever")
    assert stand.lever == lever
    assert set(stand.alerts) == {one.name for one in last.values() if isinstance(one, Alert) and one.active}
    assert set(stand.modes) == {one.rule for one in last.values() if isinstance(one, RuleMode) and one.mode}


@given(st.lists(FACTS, max_size=8), st.integers(990, 1_020))
def test_only_what_somebody_let_through_is_ever_in_force(facts: list[Fact], now: int) -> None:
    record = book_of([ORDERS[0], *facts]).get("a")
    assert record is not None
    kinds = {fact.kind for fact in facts if fact.order_id == "a"}
    if record.in_force(now):
        assert not kinds & {FactKind.RELEASED, FactKind.REJECTED}
        assert FactKind.APPROVED in kinds or (FactKind.ADMITTED in kinds and FactKind.HELD not in kinds)
