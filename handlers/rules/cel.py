"""Rules in CEL (cel.dev): one expression over ``event``, ``call`` and ``params``.

Absent is null and never an error: every path that the expression names is there, and holds null where the event has
nothing (but ``has(path)`` is false). An expression that then cannot be decided (null where true or false is needed) is
simply not true.
"""

import re
from collections.abc import Callable, Iterable, KeysView, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import cel

from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.orders import Reach
from consumer.model.rules import EventRule, RuleError, Stop
from consumer.model.scopes import ScopeKind

PATH = re.compile(r"(has\s*\(\s*)?(?<![\w.])(event|call|params)((?:\s*\.\s*[A-Za-z_]\w*\b)+)(?!\s*\()")
NOT_CODE = re.compile(
    r"""(?<!\w)(?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"]*"|'[^']*')"""
    r"""|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|//[^\n]*""",
    re.DOTALL,
)
"""Strings and comments, in the forms of the CEL specification."""
MACRO_VARIABLE = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
PARSE_ERROR = re.compile(r"<input>:(\d+):(\d+): (.*)")
EVENT_FIELDS: dict[str, Callable[[CallEvent], Any]] = {
    "type": lambda e: str(e.type),
    "status": lambda e: str(e.status) if e.status else None,
    "attempt": lambda e: e.attempt,
    "account": lambda e: e.account,
    "provider": lambda e: e.provider,
    "call_id": lambda e: e.call_id,
    "campaign_id": lambda e: e.campaign_id,
    "agent_id": lambda e: e.agent_id,
    "number": lambda e: e.number,
    "from_number": lambda e: e.from_number,
    "at": lambda e: e.at if e.at is not None else e.logged_at,
    "duration_seconds": lambda e: e.duration_seconds,
    "cost": lambda e: e.cost,
    "analysis": lambda e: dict(e.analysis),
    "args": lambda e: dict(e.args),
    "raw": lambda e: dict(e.raw),
}
CALL_FIELDS: dict[str, Callable[[Call], Any]] = {
    "account": lambda c: c.account,
    "provider": lambda c: c.provider,
    "call_id": lambda c: c.call_id,
    "campaign_id": lambda c: c.campaign_id,
    "agent_id": lambda c: c.agent_id,
    "number": lambda c: c.number,
    "from_number": lambda c: c.from_number,
    "status": lambda c: str(c.status) if c.status else None,
    "attempt": lambda c: c.attempt,
    "attempts_finished": lambda c: c.attempts_finished,
    "connected": lambda c: c.connected,
    "first_at": lambda c: c.first_at,
    "last_at": lambda c: c.last_at,
    "terminable": lambda c: c.terminable,
    "episode": lambda c: c.episode,
}


class Expression:
    """A compiled CEL expression; only the fields that it names are given to it."""

    def __init__(self, text: str, *, rule: str) -> None:
        """Compile.

        Raises:
            RuleError: it does not parse, or names something that is not there; the message says in which line and column.

        """
        self.text = text
        self._rule = rule
        self._code = NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise self._not_parsed(str(error)) from error
        asked: dict[tuple[str, ...], bool] = {}
        for match in PATH.finditer(self._code):
            path = (match[2], *re.split(r"\s*\.\s*", match[3].strip())[1:])
            self._check_field(path[0], path[1], match.start(2))
            asked[path] = asked.get(path, False) or match[1] is None
        self.paths = tuple(sorted(asked))
        self._valued = frozenset(path for path, has_value in asked.items() if has_value)
        self._check_names()

    def true_for(self, event: CallEvent, call: Call, params: Mapping[str, Any]) -> bool:
        """Evaluate; whatever is not true is false.

        Raises:
            Exception: the expression cannot be evaluated, though all it names is there.

        """
        context: dict[str, Any] = {"event": {}, "call": {}, "params": dict(params)}
        for root, name, *_ in self.paths:
            if root == "event" and name not in context["event"]:
                context["event"][name] = EVENT_FIELDS[name](event)
            elif root == "call" and name not in context["call"]:
                context["call"][name] = CALL_FIELDS[name](call)
        absent = [path for path in self.paths if self._fill(context, path)]
        try:
            return self._program.execute(context) is True
        except Exception:
            if absent:
                return False
            raise

    def _fill(self, context: dict[str, Any], path: tuple[str, ...]) -> bool:
        """Put null where a path leads nowhere; says whether it found null or had to put it. The event stays as it is."""
        place = context[path[0]]
        for depth, name in enumerate(path[1:-1], start=2):
            following = place.get(name)
            if following is None and path[:depth] not in self._valued:
                following = {}
            if not isinstance(following, dict):
                return True
            place[name] = place = dict(following)
        if path in self._valued:
            place.setdefault(path[-1], None)
        return place.get(path[-1]) is None

    def _check_field(self, root: str, name: str, offset: int) -> None:
        known: dict[str, KeysView[str]] = {"event": EVENT_FIELDS.keys(), "call": CALL_FIELDS.keys()}
        if root in known and name not in known[root]:
            raise self._refused(offset, f"{root} has no field {name!r}", name, known[root])

    def _check_names(self) -> None:
        roots = {"event", "call", "params"}
        for name in sorted(set(self._program.variables()) - roots - set(MACRO_VARIABLE.findall(self._code))):
            found = re.search(rf"(?<![\w.]){name}\b", self._code)
            raise self._refused(found.start() if found else 0, f"{name!r} is unknown", name, roots)

    def _refused(self, offset: int, what: str, name: str, known: Iterable[str]) -> RuleError:
        line = self.text.count("\n", 0, offset) + 1
        column = offset - (self.text.rfind("\n", 0, offset) + 1) + 1
        near = get_close_matches(name, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        return RuleError(f"rule {self._rule}: line {line}, column {column}: {what}; {remedy}")

    def _not_parsed(self, message: str) -> RuleError:
        found = PARSE_ERROR.search(message)
        where = f"line {found[1]}, column {found[2]}: {found[3]}" if found else message
        return RuleError(f"rule {self._rule}: the expression does not parse: {where}")


@dataclass(frozen=True, slots=True)
class Aim:
    """What a rule stops, and for how long: seconds, 0.0 once, None until released."""

    scope: ScopeKind
    hold: float | None
    reach: Reach = Reach.KNOWN


def cel_rule(
    name: str,
    expression: str,
    *,
    aim: Aim,
    reason: str | None,
    params: Mapping[str, Any],
) -> EventRule:
    """Make a rule of an expression that stops ``aim`` of the call when it is true.

    Raises:
        RuleError: the expression cannot be compiled.

    """
    compiled = Expression(expression, rule=name)
    because = reason or f"{name}: {expression}"

    def evaluate(event: CallEvent, call: Call) -> Stop | None:
        if not compiled.true_for(event, call, params):
            return None
        return replace(Stop.of_kind(aim.scope, call, reason=because), hold=aim.hold, reach=aim.reach)

    return EventRule(name, "1", digest((expression, aim.scope, str(aim.hold), aim.reach), 6), evaluate)
