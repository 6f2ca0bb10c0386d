"""Processes that die with us, and the ones of a parent that was killed: found by pid and start time, and ended."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from consumer.kafka.embedded_errors import DataDirInUseError

WRAPPER = Path(__file__).with_name("embedded_exec.py")
LEFT_OVER_POLLS = 500
LEFT_OVER_POLL_SECONDS = 0.02
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL")


async def spawn(program: list[str], *, cwd: Path, output: IO[bytes]) -> asyncio.subprocess.Process:
    """Start a program that dies with this process, in a session of its own so that Ctrl-C reaches only us.

    The kernel ties it to the calling *thread*: call it from one that lives as long as the process.
    The environment is cut down, because JAVA_TOOL_OPTIONS and CLASSPATH change what a JVM runs.
    """
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(WRAPPER), str(os.getpid()), *program),
        cwd=cwd,
        env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def end(process: asyncio.subprocess.Process, grace_seconds: float) -> None:
    """SIGTERM, a bounded wait, SIGKILL; returns when the process is gone."""
    ended = asyncio.ensure_future(process.wait())
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait((ended,), timeout=grace_seconds)
    finally:  # also when cancelled
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await ended


def started_at(pid: int) -> str | None:
    """When the process started, in a form that no other process of this pid has; None when it does not live."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return _started_at_by_ps(pid)
    try:
        fields = stat.read_text().rpartition(")")[2].split()  # proc(5): field 2 may hold spaces
    except OSError:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _started_at_by_ps(pid: int) -> str | None:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition(" ")  # noqa: S603
    return started.strip() or None if state and not state.startswith("Z") else None


def write_pid_file(path: Path, pid: int) -> None:
    path.write_text(json.dumps({"pid": pid, "started": started_at(pid)}))


def left_over(pid_file: Path) -> tuple[int, str] | None:
    """Give pid and start time of the process a killed parent left behind; None also when the pid is another's now."""
    try:
        entry = json.loads(pid_file.read_text())
        pid, started = int(entry["pid"]), str(entry["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (pid, started) if started_at(pid) == started else None


async def end_left_over(pid_file: Path) -> None:
    """End it with SIGKILL: nobody is left to wait for a clean end. Raises DataDirInUseError when it stays."""
    if (found := left_over(pid_file)) is None:
        return
    pid, started = found
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    for _ in range(LEFT_OVER_POLLS):
        if started_at(pid) != started:
            return
        await asyncio.sleep(LEFT_OVER_POLL_SECONDS)
    raise DataDirInUseError(f"process {pid}, a left-over broker named in {pid_file}, does not end: end it by hand.")
