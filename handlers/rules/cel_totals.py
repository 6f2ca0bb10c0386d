"""Rules in CEL over the totals of a scope in a window: one expression over ``totals`` and ``params``.

Figures are floats there, and whole numbers in the expression are taken for floats, since CEL converts neither into the other.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.over import FIGURES, Over, Totals
from consumer.model.rule_params import params_hash
from consumer.model.rules import Aim, Stop, TotalsRule
from consumer.model.stops import RuleError
from consumer.model.totals import Measure
from handlers.rules import expression
from handlers.rules.cel import EVENT_FIELDS
from handlers.rules.cel import Expression as EventExpression
from handlers.rules.expression import context_with, reached

ABOUT = ("account", "name")
FIELDS = (*FIGURES, *ABOUT, "sums")
KNOWN: expression.Known = {"totals": FIELDS, "params": None}
NUMBERS = ("duration_seconds", "cost")
PATHS = ("analysis.…", "args.…", "raw.…")
SHARE = "share"
SHARE_OF_NAMES = re.compile(r"""\bshare\s*\(\s*("[^"]*"|'[^']*')\s*,\s*("[^"]*"|'[^']*')\s*\)""")
OF_EVENT: expression.Known = {"event": EVENT_FIELDS}


class Expression(expression.Expression):
    """An expression over totals. ``measures`` are what it needs added up, by the names under ``totals.sums``."""

    def __init__(self, text: str, measures: Mapping[str, str], *, rule: str) -> None:
        """Compile.

        Args:
            text: the expression.
            measures: what is added up, by name: an expression over an event (a number; true counts as 1).
            rule: shown in refusals.

        Raises:
            RuleError: it does not parse, or names something that is not there; the message says in which line and column.

        """
        super().__init__(text, KNOWN, rule=rule, numbers_as_floats=True)
        self.measures = {name: measure_of(told, name, rule=rule) for name, told in measures.items()}
        for offset, path in self.found_paths():
            if path[:2] == ("totals", "sums"):
                self._add_measure(offset, path[2:])
        for match in SHARE_OF_NAMES.finditer(text):
            for group in (1, 2):
                self._check_figure(match.start(group), match[group][1:-1])

    def true_for(self, totals: Totals, params: Mapping[str, Any]) -> bool:
        """Evaluate; whatever is not true is false. Raises whatever the evaluation raises, unless it lacks a value."""
        absent: list[bool] = []
        told: dict[str, Any] = {name: getattr(totals, name) for name in (*FIGURES, *ABOUT)}
        told["sums"] = self._nested(totals)
        given = {"totals": told, "params": expression.given(_with_floats(params), self.names["params"], absent)}
        context: Any = given
        if SHARE in self.functions:
            context = context_with(given, {SHARE: _sharing(totals, absent)})
        try:
            return self.execute(context) is True
        except Exception:
            if absent:
                return False
            raise

    def values(self, totals: Totals, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the expression saw, by path, for its explanation."""
        found: dict[str, Any] = {}
        for root, name, *rest in self.valued_paths:
            if root == "params":
                value = reached(params, (name, *rest))
            else:
                value = totals.sums.get(".".join(rest), 0.0) if name == "sums" else getattr(totals, name)
            found[".".join((root, name, *rest))] = value
        for match in SHARE_OF_NAMES.finditer(self.text):
            for told in (match[1][1:-1], match[2][1:-1]):
                found[f"totals.{told}" if told in FIGURES else f"totals.sums.{told}"] = totals.share(told, 1.0)
        return found

    def _add_measure(self, offset: int, path: tuple[str, ...]) -> None:
        name = ".".join(path)
        if name in self.measures or not path:
            return
        if path[0] in self.measures or path[0] not in EVENT_FIELDS or (len(path) == 1 and path[0] not in NUMBERS):
            known = (*self.measures, *NUMBERS, *PATHS)
            raise self.refused(
                offset, f"totals.sums has no {name!r}, neither a measure nor a path of an event", name, known
            )
        self.measures[name] = Measure(name, path)

    def _check_figure(self, offset: int, name: str) -> None:
        if name not in FIGURES and name not in self.measures:
            raise self.refused(offset, f"totals have no {name!r}", name, (*FIGURES, *self.measures))

    def _nested(self, totals: Totals) -> dict[str, Any]:
        """The sums as the expression names them: one of a path in an event lies as deep as its path."""
        nested: dict[str, Any] = {}
        for name in self.measures:
            *above, last = name.split(".")
            place = nested
            for part in above:
                place = place.setdefault(part, {})
            place[last] = totals.sums.get(name, 0.0)
        return nested


def measure_of(told: str, name: str, *, rule: str) -> Measure:
    """Make a measure of an expression over an event.

    Raises:
        RuleError: it does not parse, or names what an event does not have.

    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise RuleError(f"rule {rule}: measures: {name!r} is no name; write letters, digits and _")
    compiled = EventExpression(told, rule=f"{rule}, measure {name}", known=OF_EVENT)

    def value(event: CallEvent) -> float | None:
        if not compiled.may_hold(event):
            return None
        try:
            found = compiled.value_for(event, None, {})
        except Exception:  # noqa: BLE001 -- what cannot be told of an event adds nothing
            return None
        return float(found) if isinstance(found, bool | int | float) and found is not False else None

    return Measure(told, (), value)


def cel_totals_rule(
    name: str,
    text: str,
    *,
    over: Over,
    aim: Aim,
    reason: str | None,
    params: Mapping[str, Any],
    measures: Mapping[str, str],
) -> TotalsRule:
    """Make a rule of an expression over totals that stops their scope when it is true.

    Raises:
        RuleError: the expression cannot be compiled.

    """
    compiled = Expression(text, measures, rule=name)
    because = reason or f"{name}: {text}"

    def evaluate(totals: Totals) -> Iterable[Stop]:
        if not compiled.true_for(totals, params):
            return []
        values = compiled.values(totals, params)
        return [Stop(scope, because, aim.hold, aim.reach, values) for scope in totals.scopes(aim.scope)]

    said = (text, over.scope, str(over.seconds), str(over.at_least), aim.scope, str(aim.hold), aim.reach)
    own_hash = digest((*said, params_hash({"params": dict(params), "measures": dict(measures)})), 6)
    return TotalsRule(name, "1", own_hash, evaluate, over, compiled.measures, aim=aim, expression=text)


def _sharing(totals: Totals, absent: list[bool]) -> Callable[..., float | None]:
    def share(*told: Any) -> float | None:
        part, whole = told[1:] if isinstance(told[0], Mapping) else told
        found = totals.share(part, whole)
        if found is None:
            absent.append(True)
        return found

    return share


def _with_floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _with_floats(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
