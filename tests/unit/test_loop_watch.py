import subprocess
import sys

from tests.patience import PATIENCE_SECONDS

SCRIPT = """
import asyncio, time
from consumer.service import loop_watch
loop_watch.LOOK_EVERY_SECONDS = 0.05

async def work():
    with loop_watch.ending_a_blocked_loop(lambda: print("killed what would stay", flush=True), limit_seconds=2.0):
        for _ in range(10):
            await asyncio.sleep(0.1)
        print("turning", flush=True)
        {then}
    print("left in order", flush=True)

asyncio.run(work())
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(then=then)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_a_blocked_loop_ends_the_process_and_says_where_it_stands() -> None:
    ended = run("time.sleep(600)")
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == ["turning", "killed what would stay"]
    assert "in work" in ended.stderr


def test_a_loop_that_turns_is_left_alone() -> None:
    ended = run("await asyncio.sleep(1)")
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == ["turning", "left in order"]
