import subprocess
import sys
from itertools import islice

import pytest

from tests.simulation.safeguards import SAFEGUARDS
from tests.simulation.seeds import first_caught, play, play_on_all_cores

pytestmark = pytest.mark.simulation

SEEDS = 5_000
CAUGHT_WITHIN = 150
SHOWN = 5


@pytest.mark.timeout(1_800)
def test_no_law_is_broken_whatever_crashes_sleeps_or_comes_twice() -> None:
    broken = list(islice(play_on_all_cores(0, SEEDS), SHOWN))
    assert not broken, "\n".join(str(one) for one in broken)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("safeguard", [guard.name for guard in SAFEGUARDS])
def test_a_safeguard_that_is_taken_out_is_missed_within_a_few_seeds(safeguard: str) -> None:
    assert first_caught(safeguard, range(CAUGHT_WITHIN)) is not None


def test_a_seed_always_tells_the_same_story() -> None:
    _, here = play(12, traced=True)
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "1", "--start", "12", "--trace"]
    elsewhere = subprocess.run(command, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert elsewhere.stdout.splitlines()[1:-1] == [line for step in here for line in step.splitlines()]
