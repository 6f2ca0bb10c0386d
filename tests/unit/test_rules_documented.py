"""docs/rules.md against the code: the fields that a rule sees, the findings of opt_out, and examples that work."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from consumer.model import EventRule, EventType, Status, Totals, TotalsRule
from consumer.model.rules import Rule
from consumer.service.assembly import rules_of
from consumer.settings import load_settings
from handlers.rules.catalog import GROUP, find
from handlers.rules.cel import CALL_FIELDS, EVENT_FIELDS
from handlers.rules.cel_totals import FIELDS as TOTALS_FIELDS
from handlers.rules.opt_out import FINDINGS
from tests.unit.values import event, waiting_call

TEXT = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
FIELDS = dict(re.findall(r"^\| `((?:event|call)\.\w+)` \| (.*) \|$", TEXT, re.MULTILINE))
NUMBER = "+918882876897"


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_document_has_every_field_that_a_rule_sees_and_no_other() -> None:
    seen = [f"event.{name}" for name in EVENT_FIELDS] + [f"call.{name}" for name in CALL_FIELDS]
    assert list(FIELDS) == seen


def test_the_document_has_every_event_type_status_and_finding() -> None:
    assert set(re.findall(r"`(\w+)`", FIELDS["event.type"])) == {*EventType, Status.RETRY}
    assert re.findall(r"`(\w+)`", FIELDS["event.status"]) == list(Status)
    findings = re.search(r"It looks for (.*) in `event", TEXT)
    assert findings is not None
    assert re.findall(r"`(\w+)`", findings[1]) == list(FINDINGS)


def test_the_document_has_every_figure_of_totals_and_no_other() -> None:
    figures = re.findall(r"^\| `totals\.(\w+)` \|", TEXT, re.MULTILINE)
    assert sorted(figures) == sorted(TOTALS_FIELDS)


def test_the_document_has_every_built_in_rule_with_all_its_params() -> None:
    points = [point.name for point in entry_points(group=GROUP) if point.value.startswith("handlers.")]
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
    assert sorted(sections) == sorted(points)
    for name, section in sections.items():
        assert f"handler: {name}" in section
        known = getattr(find(name).params_type, "model_fields", {})
        assert all(f"`{param}`" in section for param in known), name


def test_the_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module,) = examples("python")
    (tmp_path / "my_rules.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    rules: dict[str, Rule] = {}
    for text in examples("yaml"):
        file = tmp_path / "callbreaker.yaml"
        file.write_text(text)
        rules |= {rule.name: rule for rule in rules_of(load_settings(file, {"QA_SECRET": "a-secret-of-the-qa-tool"}))}
    call = waiting_call(number=NUMBER)
    for name, analysis in [
        ("talked-long-enough", {"minutes": 6}),
        ("angry-caller", {"sentiment": "angry"}),
        ("opt-out", {"do_not_call": True}),
    ]:
        rule = rules[name]
        assert isinstance(rule, EventRule)
        stop = rule(event("analysis", type=EventType.ANALYSIS, analysis=analysis), call)
        assert stop is not None
        assert stop.scope.mobile_numbers == (NUMBER,)
        assert rule(event("analysis", type=EventType.ANALYSIS), call) is None
    failing = rules["most-calls-fail"]
    assert isinstance(failing, TotalsRule)
    assert failing(Totals("acme", "campaign", "k", 0.0, finished=100.0, failed=41.0))
    assert len(rules) == len(re.findall(r"^  - name: ", TEXT, re.MULTILINE))
