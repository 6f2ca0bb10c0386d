"""Child processes of the benchmarks: each pinned to one core, told what to do in JSON, answering in lines of JSON."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

LINE_BYTES = 1024 * 1024


class Child:
    """A process that answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self, within_seconds: float = 120.0) -> dict[str, Any]:
        """Wait for the next line it says.

        Raises:
            RuntimeError: it ended, or said nothing in time.

        """
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), within_seconds)
        except TimeoutError:
            raise RuntimeError(f"a benchmark process said nothing for {within_seconds:.0f} s") from None
        if not line:
            raise RuntimeError(f"a benchmark process ended with code {await self._process.wait()}")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    async def ask(self, question: str, within_seconds: float = 120.0) -> dict[str, Any]:
        """Send a line and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n".encode())
        return await self.said(within_seconds)

    async def end(self) -> None:
        """Close its input, which asks it to leave, and wait; what does not leave is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def child(module: str, job: dict[str, Any], *, core: int, python: str = sys.executable) -> AsyncIterator[Child]:
    """Start ``python -m module job`` on one core; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        module,
        orjson.dumps(job).decode(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=LINE_BYTES,
    )
    os.sched_setaffinity(process.pid, {core})  # before it has any thread but its first
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def job_of_this_process() -> dict[str, Any]:
    job: dict[str, Any] = orjson.loads(sys.argv[1])
    return job


def say(answer: dict[str, Any]) -> None:
    """Answer with one line."""
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


async def questions() -> AsyncIterator[str]:
    """The lines that the parent sends, until it closes our input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()
