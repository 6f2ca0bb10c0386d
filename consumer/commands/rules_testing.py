"""From a file of tests to what they came to, printed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from consumer.backtest.case import Fields, Verdict
from consumer.backtest.case import run as run_case
from consumer.commands.configuration import with_rules_of
from consumer.commands.rules_test_file import TestFile, cases, rules_beside
from consumer.commands.terminal import out, show_json
from consumer.commands.trial import accounts_of_trial, plan_of_trial
from consumer.settings import Settings
from consumer.settings.checks import checked
from consumer.settings.file import read_document
from handlers.providers.table import PROVIDERS


def run(path: Path, *, as_json: bool) -> bool:
    """Run the tests of a file and print what they came to; says whether all passed.

    Raises:
        ConfigurationError: something is wrong with the file or with the rules.

    """
    document = read_document(path, os.environ)
    file = checked(document, TestFile, {})
    settings = with_rules_of(rules_beside(path, file), Settings())
    plan = plan_of_trial(settings).without_limits()
    account_of = accounts_of_trial(settings, file.provider)
    verdicts = [run_case(case, plan) for case in cases(file, document, account_of, PROVIDERS)]
    failed = sum(not verdict.passed for verdict in verdicts)
    if as_json:
        told = [_as_json(verdict) for verdict in verdicts]
        show_json({"passed": len(verdicts) - failed, "failed": failed, "tests": told})
    else:
        for verdict in verdicts:
            out.print(_line(verdict))
        style = "bold red" if failed else "bold green"
        out.print(Text(f"{len(verdicts) - failed} passed, {failed} failed", style=style))
    return not failed


def _line(verdict: Verdict) -> Text:
    word, style = ("ok", "green") if verdict.passed else ("failed", "bold red")
    return Text("\n").join([Text.assemble((f"{word:6}", style), f" {verdict.name}"), *_differences(verdict)])


def _differences(verdict: Verdict) -> Iterator[Text]:
    """Write what is expected with a minus and what was found instead with a plus."""
    for wish, different in verdict.wrong:
        yield Text(f"         an order of {wish.rule} is not as expected:", style="dim")
        for name, (wanted, found) in different.items():
            yield Text(f"       - {name}: {wanted}", style="red")
            yield Text(f"       + {name}: {found}", style="green")
    for wish in verdict.missing:
        yield Text(f"       - {_in_words(wish.fields())}", style="red")
    for order in verdict.unexpected:
        yield Text(f"       + {_in_words(order)}", style="green")
    for call_id in verdict.not_stopped:
        yield Text(f"       - call {call_id} is stopped", style="red")
    for call_id in verdict.stopped_too:
        yield Text(f"       + call {call_id} is stopped", style="green")
    for failure in verdict.failures:
        yield Text(f"       ! {failure}", style="yellow")


def _in_words(fields: Fields) -> str:
    return ", ".join(f"{name}: {value}" for name, value in fields.items())


def _as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "passed": verdict.passed,
        "wrong": [
            {"expected": wish.fields(), "different": {name: {"expected": a, "found": b} for name, (a, b) in d.items()}}
            for wish, d in verdict.wrong
        ],
        "missing": [wish.fields() for wish in verdict.missing],
        "unexpected": [dict(found) for found in verdict.unexpected],
        "not_stopped": list(verdict.not_stopped),
        "stopped_too": list(verdict.stopped_too),
        "failures": list(verdict.failures),
    }
