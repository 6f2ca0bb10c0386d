"""Events a second and core that a backtest of ten CEL rules gets through, beside reading and decoding the same events alone.

Both are processes pinned to the first core that read the same topic in the order of its time; the broker and the parent
have the other. What counts is CPU time (all threads of the process, the Kafka client included), and of the alternating
rounds the best: what else the machine does only ever takes away.
"""

from benchmarks.children import child
from benchmarks.report import Figure
from benchmarks.stage import Stage, fill, staged
from benchmarks.world import Size

SIZE = Size(calls=60_000, numbers_in_lists=0, numbers_by_rule=0, opted_out=0.0)
PARTITIONS = {"call_events": 6, "scope_totals": 6, "terminations": 6, "rejected": 6}
ROUNDS = 3
WANTED_PER_CORE = 50_000
GIVE_UP_SECONDS = 300.0


async def measure() -> list[Figure]:
    """Run the benchmark."""
    async with staged(SIZE, "bench.", **PARTITIONS) as stage:
        await fill(stage.connection, stage.world.events())
        micros: dict[str, list[float]] = {"decode": [], "backtest": []}
        for _ in range(ROUNDS):
            for kind, found in micros.items():
                found.append(await _cpu_micros(stage, kind))
    decode, backtest = min(micros["decode"]), min(micros["backtest"])
    per_second = 1e6 / backtest
    return [
        Figure(
            "backtest of ten rules: events a core",
            per_second,
            "/s",
            wanted=f"≥ {WANTED_PER_CORE:,}",
            met=per_second >= WANTED_PER_CORE,
        ),
        Figure("CPU an event, backtest of ten rules", backtest, "µs"),
        Figure("CPU an event, read and decoded alone", decode, "µs"),
        Figure("backtest ÷ read and decoded alone, by CPU time", backtest / decode, "x"),
    ]


async def _cpu_micros(stage: Stage, kind: str) -> float:
    """Run one of the two; gives the CPU time of an event."""
    job = {
        **stage.job,
        "kind": kind,
        "partitions": {name.replace("_", "-"): count for name, count in PARTITIONS.items()},
        "folder": str(stage.folder),
    }
    async with child("benchmarks.backtest_process", job, core=stage.core) as process:
        said = await process.said(GIVE_UP_SECONDS)
        await process.end()
    return float(1e6 * said["cpu_seconds"] / said["events"])
