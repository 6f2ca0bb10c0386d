"""Commands as processes of their own, in a directory of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.patience import PATIENCE_SECONDS

CONFIGURED = ("CALLBREAKER_", "SIMULATOR_")


def environment(**more: str) -> dict[str, str]:
    """The environment without anything that configures callbreaker, and the working tree to import from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CONFIGURED)}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200", **more}


def call(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``more`` are variables of its environment."""
    return subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


class Running:
    """A command that stays up; its output is in ``out`` and ``err``."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.out, self.err = cwd / f"{arguments[0]}.out", cwd / f"{arguments[0]}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "consumer", *arguments], cwd=cwd, env=environment(), stdout=out, stderr=err
            )

    @property
    def said(self) -> str:
        return self.out.read_text()

    def until_it_says(self, text: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait until the output holds a text; gives the output."""
        until(lambda: text in self.said or self.process.poll() is not None, seconds)
        assert text in self.said, f"ended with {self.process.poll()}:\n{self.said}\n{self.err.read_text()[-3000:]}"
        return self.said

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ends(self, number: signal.Signals, seconds: float = PATIENCE_SECONDS) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Running]:
    """Start a command and end it at last, whatever the test did."""
    command = Running(*arguments, cwd=cwd)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait(PATIENCE_SECONDS)


def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at, "waited too long"
        time.sleep(0.05)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
