"""Expectations of a backtest, as CI states them: ``opt-out.stopped>=1``, ``false_stops<=10``."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

Figures = Mapping[str, float]

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_WRITTEN = re.compile(r"\s*(?:([A-Za-z0-9][\w-]*)\s*\.)?\s*([a-z_]+)\s*(<=|>=|==|!=|=|<|>)\s*(-?\d+(?:\.\d+)?)\s*")


class ExpectationError(ValueError):
    """An expectation that cannot be checked; the message says why, and what there is."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One wish. ``rule`` None: the figure of all rules under test together."""

    text: str
    rule: str | None
    figure: str
    comparison: str
    value: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found for a wish, and whether it is met."""

    expectation: Expectation
    found: float
    met: bool


def parse(text: str, rules: Sequence[str], figures: Sequence[str]) -> Expectation:
    """Read an expectation about these rules and figures; raises ``ExpectationError``."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ExpectationError(f"{text!r} is no expectation; write [RULE.]FIGURE, <= or >= and so on, and a number")
    rule, figure, comparison, value = match.groups()
    if rule is not None and rule not in rules:
        raise ExpectationError(f"{text!r}: there is no rule {rule!r}; {_near(rule, rules)}")
    if figure not in figures:
        raise ExpectationError(f"{text!r}: there is no figure {figure!r}; {_near(figure, figures)}")
    return Expectation(text.strip(), rule, figure, comparison, float(value))


def check(expectations: Sequence[Expectation], by_rule: Mapping[str, Figures]) -> list[Verdict]:
    """Hold the expectations against the figures of each rule."""
    verdicts = []
    for expectation in expectations:
        asked = [by_rule[expectation.rule]] if expectation.rule else list(by_rule.values())
        found = sum(figures[expectation.figure] for figures in asked)
        met = _COMPARISONS[expectation.comparison](found, expectation.value)
        verdicts.append(Verdict(expectation, found, met))
    return verdicts


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
