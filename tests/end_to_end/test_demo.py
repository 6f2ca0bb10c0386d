"""The demo as ``make run`` starts it, with a smaller campaign."""

import re
import signal
from pathlib import Path

import pytest

from tests.end_to_end.command_line import all_gone, call, free_port, running, until

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(180)]


def _arguments() -> tuple[str, ...]:
    return "demo", "--calls", "400", "--port", str(free_port()), "--provider-port", str(free_port())


def test_a_killed_demo_leaves_nothing_behind_and_the_next_one_adds_up(tmp_path: Path) -> None:
    with running(*_arguments(), cwd=tmp_path) as demo:
        demo.until_it_says("the first webhook is taken")
        started = demo.children()
        assert len(started) >= 2, "a broker and a provider"
        demo.ends(signal.SIGKILL)
        until(lambda: all_gone(started), 5)
    again = call(*_arguments(), "--exit", cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "WRONG" not in again.stdout
    first = re.search(r"([0-9.]+) s  the first webhook is taken", again.stdout)
    assert first
    assert re.search(r"✓ calls seen +400 ", again.stdout)
    assert re.search(r"✓ requests for the campaign +[1-9]", again.stdout)


def test_ctrl_c_ends_the_demo_with_everything_it_started(tmp_path: Path) -> None:
    with running(*_arguments(), cwd=tmp_path) as demo:
        demo.until_it_says("the first webhook is taken")
        started = demo.children()
        assert demo.ends(signal.SIGINT) == 0
        assert "ended, with everything that the demo had started" in demo.said
        assert all_gone(started)
        assert not (tmp_path / ".callbreaker" / "demo" / "token").exists()
