"""A long save is one transaction, written in steps between which others get their turn."""

from collections import deque
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from consumer.correlate.calls import SCHEMA, Calls
from consumer.kafka.held import Held
from consumer.kafka.view import View
from tests.unit.values import ACCOUNT, waiting_call

TOPIC = ("call-events", 0)


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")


def five_calls_folded(view: View) -> Held:
    """Hold a partition whose view is to be saved in three steps."""
    calls = Calls(view.connection)
    calls.saved_at_once = 2
    for n in range(5):
        calls.put(waiting_call(f"c{n}"), None)
    shard = SimpleNamespace(view=view, save=calls.save)
    return Held(shard, {}, {}, unsaved={TOPIC: (5, 1_000)}, unsaved_records=5)


def test_all_steps_together_save_everything_with_its_offset(view: View) -> None:
    held = five_calls_folded(view)
    saved: dict[tuple[str, int], int] = {}
    steps = held.save(saved)
    next(steps)
    assert not saved
    deque(steps, maxlen=0)
    again = Calls(view.connection)
    assert all(again.get(ACCOUNT, f"c{n}") for n in range(5))
    assert again.count() == (5, 5)
    assert saved == view.offsets == {TOPIC: 5}


def test_a_save_given_up_between_its_steps_changes_nothing(view: View) -> None:
    held = five_calls_folded(view)
    saved: dict[tuple[str, int], int] = {}
    with closing(held.save(saved)) as steps:
        next(steps)
    assert view.connection.execute("SELECT count(*) FROM calls").fetchone() == (0,)
    assert saved == view.offsets == {}
    assert not held.unsaved, "what the shard was to save it may have forgotten, so it must not be tried again"
