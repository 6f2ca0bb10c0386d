"""The demo as ``make run`` starts it, with a smaller campaign."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.command_line import all_gone, environment, running, until
from tests.ports import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(500)]


CALLS = 100
SLOWER = """
from consumer.demo import setting
setting.SCENARIO["speed"] = 5
from consumer.cli import main
main()
"""
"""At the demo's own pace calls ring for three seconds, and on a busy machine webhooks are later than that."""


def _arguments() -> tuple[str, ...]:
    return "demo", "--calls", str(CALLS), "--port", str(free_port()), "--provider-port", str(free_port())


def test_a_killed_demo_leaves_nothing_behind_and_the_next_one_adds_up(tmp_path: Path) -> None:
    with running(*_arguments(), cwd=tmp_path) as demo:
        demo.until_it_says("the first webhook is taken")
        started = demo.children()
        assert len(started) >= 2, "a broker and a provider"
        demo.ends(signal.SIGKILL)
        until(lambda: all_gone(started))
    again = subprocess.run(
        [sys.executable, "-c", SLOWER, *_arguments(), "--exit"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "WRONG" not in again.stdout
    first = re.search(r"([0-9.]+) s  the first webhook is taken", again.stdout)
    assert first
    assert re.search(rf"✓ calls seen +{CALLS} ", again.stdout)
    assert re.search(r"✓ requests for the campaign +[1-9]", again.stdout)


def test_ctrl_c_ends_the_demo_with_everything_it_started(tmp_path: Path) -> None:
    with running(*_arguments(), cwd=tmp_path) as demo:
        demo.until_it_says("the first webhook is taken")
        started = demo.children()
        assert demo.ends(signal.SIGINT) == 0
        assert "ended, with everything that the demo had started" in demo.said
        assert all_gone(started)
        assert not (tmp_path / ".callbreaker" / "demo" / "token").exists()
