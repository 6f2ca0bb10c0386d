"""docs/operating.md names what there is: every metric with its labels and help, every outcome, options that exist."""

import re
from pathlib import Path

from prometheus_client import REGISTRY
from typer.testing import CliRunner

import consumer.service.service  # noqa: F401 -- every metric there is
from consumer.cli import app
from consumer.model.terminations import State

TEXT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def test_metrics_are_those_of_the_code() -> None:
    documented = {
        name.removesuffix("_total"): meaning
        for name, meaning in re.findall(r"^\| `(callbreaker_\w+)` \| [^|]* \| (.+) \|$", TEXT, re.MULTILINE)
    }
    known = {one.name: one.documentation for one in REGISTRY.collect() if one.name.startswith("callbreaker_")}
    assert documented == known
    assert set(re.findall(r"callbreaker_\w+?(?=_total\b|\b)", TEXT)) <= set(known)


def test_outcomes_are_those_of_terminations() -> None:
    table = TEXT.split("| outcome | meaning |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(State)


def test_options_of_the_examples_exist() -> None:
    shown = CliRunner().invoke(app, ["stop", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    stop = "\n".join(re.findall(r"^callbreaker stop .+$", TEXT, re.MULTILINE))
    for option in {*re.findall(r"--[a-z-]+", stop), "--canary-share", "--allow-live", "--reach", "--hold", "--mode"}:
        assert option in shown
