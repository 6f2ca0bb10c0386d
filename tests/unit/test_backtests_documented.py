"""docs/backtests.md against the code: its examples work, and its tables are whole."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.backtest.result import FIGURES
from consumer.cli import app

TEXT = (Path(__file__).parents[2] / "docs" / "backtests.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def table(heading: str) -> list[str]:
    """The names in the first column of a table."""
    rows = TEXT.partition(heading)[2].partition("\n\n")[0]
    return re.findall(r"`([a-z_]+)`(?=[^|]*\|[^|]*\|$)", rows, re.MULTILINE)


def test_every_figure_is_described() -> None:
    assert table("| figure | meaning |") == list(FIGURES)


def test_every_reason_of_why_not_is_described() -> None:
    source = Path(__file__).parents[2] / "consumer" / "console" / "why_not.py"
    codes = set(re.findall(r'Why\(\s*False,\s*"(\w+)"', source.read_text())) | {"released", "expired"}
    assert set(table("| `code` | why the order did not stop the call |")) == codes


def test_the_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rules, tests = examples("yaml")
    (line,) = examples("json")
    Path("rules.yaml").write_text(rules)
    Path("rules.test.yaml").write_text(tests)
    Path("yesterday.jsonl").write_text(line)
    tested = CliRunner().invoke(app, ["rules", "test", "rules.test.yaml"])
    assert tested.exit_code == 0, tested.output
    assert "2 passed, 0 failed" in tested.stdout
    asked = ["backtest", "--rules", "rules.yaml", "--events", "yesterday.jsonl", "--provider", "ringg", "--json"]
    tried = CliRunner().invoke(app, [*asked, "--expect", "tried-in-vain.stopped>=1", "--expect", "false_stops<=10"])
    assert tried.exit_code == 1
    told = json.loads(tried.stdout)
    assert [one["met"] for one in told["expectations"]] == [False, True]
    assert (told["events"], told["skipped"]) == (1, 0)
