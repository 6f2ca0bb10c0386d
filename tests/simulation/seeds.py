"""Running seeds, one after the other or on all cores, and what is said of those that broke a law."""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from tests.simulation.auditors import audit
from tests.simulation.build import build
from tests.simulation.course import end, run
from tests.simulation.plan import Plan
from tests.simulation.safeguards import SAFEGUARDS
from tests.simulation.world import Violation

SEEDS_AT_ONCE = 100
COLLECT_EVERY = 50


@dataclass(frozen=True, slots=True)
class Broken:
    """A seed whose world broke laws, and how."""

    seed: int
    violations: tuple[Violation, ...]

    def __str__(self) -> str:
        told = "\n".join(f"  {violation.law}: {violation.what[:600]}" for violation in self.violations[:8])
        return f"seed {self.seed} broke a law; see it with: make simulate SEEDS=1 START={self.seed} TRACE=1\n{told}"


def play(seed: int, plan: Plan | None = None, *, traced: bool = False) -> tuple[Broken | None, Sequence[str]]:
    """Run one seed, with its own plan or a given one; gives what it broke, and its trace if it is ``traced``."""
    world = build(seed, plan, traced=traced)
    try:
        if run(world):
            audit(world)
        broken = Broken(seed, tuple(world.violations)) if world.violations else None
    finally:
        end(world)
    return broken, world.trace or ()


def play_all(seeds: Iterable[int]) -> Iterator[Broken]:
    """Run seeds one after the other, and give those that broke a law."""
    _collect_now_and_then()
    try:
        for n, seed in enumerate(seeds, start=1):
            broken, _ = play(seed)
            if broken:
                yield broken
            if n % COLLECT_EVERY == 0:
                gc.collect()
    finally:
        gc.enable()


def play_on_all_cores(start: int, count: int, told: Callable[[int], None] = lambda _: None) -> Iterator[Broken]:
    """Run ``count`` seeds from ``start`` on, giving those that broke a law; ``told`` hears how many are done."""
    slices = [
        range(first, min(first + SEEDS_AT_ONCE, start + count)) for first in range(start, start + count, SEEDS_AT_ONCE)
    ]
    done = 0
    with _pool() as pool:
        running = {pool.submit(_play_slice, part): part for part in slices}
        for finished in as_completed(running):
            yield from finished.result()
            done += len(running[finished])
            told(done)


def first_caught(safeguard: str, seeds: Sequence[int]) -> int | None:
    """Take a safeguard out, and give the first of ``seeds`` that breaks one of the laws it upholds."""
    guard = next(one for one in SAFEGUARDS if one.name == safeguard)
    with guard.removed():
        for broken in play_all(seeds):
            if any(violation.law in guard.laws for violation in broken.violations):
                return broken.seed
    return None


def _play_slice(seeds: range) -> list[Broken]:
    return list(play_all(seeds))


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))


def _collect_now_and_then() -> None:
    """A world is full of cycles; walking over it while it lives costs a tenth of the whole."""
    gc.collect()
    gc.freeze()
    gc.disable()
