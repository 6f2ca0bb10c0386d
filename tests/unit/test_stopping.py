import sqlite3
from pathlib import Path

from consumer.correlate.stopping import SCHEMA, Stopping
from consumer.kafka.topics import Topics
from consumer.model.counts import JUDGE, OrderStopped, decode_said, is_said
from consumer.model.orders import Author, Fact, FactKind, Mode, OrderRecord
from tests.unit.values import OPERATOR, RULE, order, waiting_call

GUARD = Author("guard", "guard")
TOPICS = Topics.embedded()


def opened(path: Path) -> tuple[Stopping, sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(SCHEMA)
    return Stopping(connection, source=3, topics=TOPICS), connection


def said(stopping: Stopping) -> list[OrderStopped]:
    found = []
    for record in stopping.unsaid():
        assert (record.topic, record.partition) == (TOPICS.scope_totals.name, JUDGE)
        assert is_said(record.key)
        told = decode_said(record.value or b"")
        assert isinstance(told, OrderStopped)
        found.append(told)
    return found


def of_rule(order_id: str, *facts: Fact, **given: object) -> OrderRecord:
    return OrderRecord(order(order_id, by=RULE, **given), facts)


def test_what_an_order_stops_is_said_once_it_is_saved_and_again_only_what_came_since(tmp_path: Path) -> None:
    stopping, connection = opened(tmp_path / "view")
    stopping.tick(1.0)
    for n in range(3):
        stopping.note(waiting_call(f"call-{n}"), [of_rule("r-1")])
    stopping.save(connection)
    assert said(stopping) == [OrderStopped("r-1", 3, 1_000, 3)]
    stopping.note(waiting_call("call-4"), [of_rule("r-1")])  # while that is on its way
    stopping.save(connection)
    assert said(stopping) == [OrderStopped("r-1", 3, 1_001, 1)]
    stopping.save(connection)
    assert said(stopping) == []
    assert not stopping.dirty


def test_what_was_counted_and_not_said_is_said_after_a_crash(tmp_path: Path) -> None:
    stopping, connection = opened(tmp_path / "view")
    stopping.note(waiting_call(), [of_rule("r-1")])
    stopping.save(connection)
    assert len(said(stopping)) == 1  # and it dies before that is noted
    connection.close()
    again, connection = opened(tmp_path / "view")
    assert [(one.order_id, one.calls) for one in said(again)] == [("r-1", 1)]
    connection.close()


def test_only_what_rules_stop_without_a_persons_word_counts(tmp_path: Path) -> None:
    stopping, connection = opened(tmp_path / "view")
    call = waiting_call(campaign_id="campaign-1")
    stopping.note(
        call.with_decided(("r-decided",)),
        [
            OrderRecord(order("op-1", by=OPERATOR)),
            of_rule("r-approved", Fact("r-approved", FactKind.APPROVED, OPERATOR, "yes")),
            of_rule("r-shadow", mode=Mode.SHADOW),
            of_rule("r-canary", mode=Mode.CANARY, canary_campaigns=("another",)),
            of_rule("r-decided"),
            of_rule("r-counts", Fact("r-counts", FactKind.ADMITTED, GUARD, "within the limits")),
        ],
    )
    stopping.save(connection)
    assert [one.order_id for one in said(stopping)] == ["r-counts"]
    connection.close()
