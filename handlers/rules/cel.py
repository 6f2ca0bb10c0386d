"""Rules in CEL (cel.dev): one expression over ``event``, ``call`` and ``params``.

Absent is null and never an error: every path that the expression names is there, and holds null where the event has
nothing. An expression that then cannot be decided (null where true or false is needed) is simply not true.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cel

from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.orders import Reach
from consumer.model.rules import EventRule, RuleError, Stop
from consumer.model.scopes import ScopeKind

PATH = re.compile(r"\b(event|call|params)((?:\.[A-Za-z_]\w*)+)(?!\s*\()")
STRINGS = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
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
            RuleError: it does not parse, or names something that is not there.

        """
        self.text = text
        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise RuleError(f"rule {rule}: the expression does not parse: {error}") from error
        bare = STRINGS.sub("''", text)
        self.paths = tuple(sorted({(m[1], *m[2].strip(".").split(".")) for m in PATH.finditer(bare)}))
        known: dict[str, Mapping[str, Any]] = {"event": EVENT_FIELDS, "call": CALL_FIELDS}
        for root, name, *_ in self.paths:
            if root in known and name not in known[root]:
                raise RuleError(f"rule {rule}: {root} has no field {name!r}; it has {', '.join(known[root])}")
        unknown = set(self._program.variables()) - {"event", "call", "params"}
        if unknown:
            raise RuleError(f"rule {rule}: {min(unknown)!r} is unknown; there are event, call and params")

    def true_for(self, event: CallEvent, call: Call, params: Mapping[str, Any]) -> bool:
        """Evaluate; whatever is not true is false.

        Raises:
            TypeError, ValueError, KeyError: the expression cannot be evaluated, though all it names is there.

        """
        context: dict[str, Any] = {"event": {}, "call": {}, "params": dict(params)}
        for root, name, *_ in self.paths:
            if root == "event" and name not in context["event"]:
                context["event"][name] = EVENT_FIELDS[name](event)
            elif root == "call" and name not in context["call"]:
                context["call"][name] = CALL_FIELDS[name](call)
        absent = [path for path in self.paths if _fill(context, path)]
        try:
            return self._program.execute(context) is True
        except (TypeError, ValueError, KeyError):
            if absent:
                return False
            raise


def _fill(context: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Put null where a path leads nowhere; says whether it found null or had to put it."""
    place: Any = context
    for name in path[:-1]:
        following = place.get(name)
        if not isinstance(following, dict):
            following = place[name] = {} if following is None else following
            if not isinstance(following, dict):
                return True
        place = following
    return place.setdefault(path[-1], None) is None


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
