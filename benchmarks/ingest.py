"""Durable webhooks per second of one ingest process on one core, as a ratio to a bare aiohttp handler in the same run.

The process is pinned to the first core; the load generator and the broker have the other. Both servers get the same
requests, Ringg's documented ``call_completed`` with its secret header, over 64 connections. The rounds alternate, and the
median counts.
"""

import asyncio
import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
import psutil

from benchmarks.ingest_server import ACCOUNT, SECRET
from benchmarks.load import Load, drive
from benchmarks.report import Figure, percentile
from consumer.kafka.embedded import EmbeddedKafka

CONNECTIONS = 64
SECONDS = 6.0
ROUNDS = 3
WANTED = 0.5


async def measure(*, seconds: float = SECONDS, rounds: int = ROUNDS) -> list[Figure]:
    """Run the benchmark; gives the ratio and what it is made of."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))  # inherited by the broker
    with tempfile.TemporaryDirectory(prefix="callbreaker-bench-") as folder:
        async with EmbeddedKafka(Path(folder)) as kafka:
            results: dict[str, list[_Round]] = {"bare": [], "durable": []}
            for _ in range(rounds):
                for kind, done in results.items():
                    done.append(await _round(kind, kafka.bootstrap_servers, cores[0], seconds))
    os.sched_setaffinity(0, set(cores))
    refused = sum(
        n for done in results.values() for one in done for status, n in one.load.statuses.items() if status != 200
    )
    bare, durable = (_Medians.of(results[kind]) for kind in ("bare", "durable"))
    ratio = durable.per_second / bare.per_second
    waits = [wait for one in results["durable"] for wait in one.load.seconds]
    return [
        Figure("ingest: durable ÷ bare", ratio, "x", wanted=f"≥ {WANTED}", met=ratio >= WANTED),
        Figure("ingest: durable webhooks", durable.per_second, "/s"),
        Figure("ingest: bare handler", bare.per_second, "/s"),
        Figure("ingest: core used, durable", 100 * durable.core_share, "%"),
        Figure("ingest: core used, bare", 100 * bare.core_share, "%"),
        Figure("ingest: processor time, durable", 1e6 * durable.cpu_seconds, "µs each"),
        Figure("ingest: processor time, bare", 1e6 * bare.cpu_seconds, "µs each"),
        Figure("ingest: durable answer p50", 1_000 * percentile(waits, 0.50), "ms"),
        Figure("ingest: durable answer p99", 1_000 * percentile(waits, 0.99), "ms"),
        Figure("ingest: answers other than 200", refused, "", wanted="0", met=refused == 0),
    ]


class _Round(NamedTuple):
    """What was answered, and the processor time the server used for it."""

    load: Load
    cpu_seconds: float


class _Medians(NamedTuple):
    """Of several rounds: answers a second, the share of its core the server used, its processor time an answer.

    The last tells of the server alone, on a machine that others use too; the first also of waiting.
    """

    per_second: float
    core_share: float
    cpu_seconds: float

    @classmethod
    def of(cls, rounds: Sequence[_Round]) -> "_Medians":
        return cls(
            statistics.median(one.load.per_second for one in rounds),
            statistics.median(one.cpu_seconds / one.load.elapsed for one in rounds),
            statistics.median(one.cpu_seconds / len(one.load.seconds) for one in rounds),
        )


async def _round(kind: str, bootstrap_servers: str, core: int, seconds: float) -> _Round:
    """Start one server on its core, load it, end it."""
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.ingest_server", kind, str(port), bootstrap_servers, stdout=subprocess.PIPE
    )
    try:
        os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 30)
        make_request = _requests()
        await drive(port, make_request, connections=CONNECTIONS, seconds=1.0)
        server = psutil.Process(process.pid)
        before = sum(server.cpu_times()[:2])
        load = await drive(port, make_request, connections=CONNECTIONS, seconds=seconds)
        return _Round(load, sum(server.cpu_times()[:2]) - before)
    finally:
        process.kill()
        await process.wait()


def _requests() -> Callable[[], bytes]:
    """Prepare requests for 2,000 calls, so that the generator only copies bytes while it measures."""
    prepared = []
    for n in range(2_000):
        body = orjson.dumps(
            {
                "event_type": "call_completed",
                "call_duration": 15.733745,
                "call_type": "outbound",
                "custom_args_values": {"callee_name": "John", "order_value": "70000", "company_name": "Acme Corp"},
                "to_number": f"+9198754{n:05d}",
                "from_number": "+919875436897",
                "bulk_list_id": "0b52ca2b-7767-4cb5-ac4c-b2a4f892a856",
                "call_id": f"4b30f5dc-7f86-4e4c-a3aa-{n:012d}",
                "agent_id": "cbaf9944-3e34-43b6-b3e8-6a905de16639",
                "workspace_id": "442a9db3-0fd4-47dc-b8cd-cc7eedfa272f",
                "status": "retry",
                "called_on": "2025-12-14T19:37:13.310707Z",
                "call_cost": 0.15,
                "transcript": [{"bot": "Hello, this is a reminder."}, {"user": "Yes."}],
                "retry_count": 0,
            }
        )
        head = (
            f"POST /webhooks/{ACCOUNT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"X-Webhook-Secret: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        prepared.append(head.encode() + body)
    cycle = itertools.cycle(prepared)
    return lambda: next(cycle)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
