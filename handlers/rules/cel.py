"""Rules in CEL (cel.dev) over call events: one expression over ``event``, ``call`` and ``params``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.rule_params import params_hash
from consumer.model.rules import Aim, EventRule, Stop
from handlers.rules import expression
from handlers.rules.expression import given, reached
from handlers.rules.prefilter import look_at_call, quick_look

__all__ = ["CALL_FIELDS", "EVENT_FIELDS", "Aim", "Expression", "cel_rule"]

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
    "analysis": lambda e: e.analysis,
    "args": lambda e: e.args,
    "raw": lambda e: e.raw,
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
KNOWN: expression.Known = {"event": EVENT_FIELDS, "call": CALL_FIELDS, "params": None}


class Expression(expression.Expression):
    """An expression over an event and its call. ``on``, ``statuses`` and ``wants`` are a quick look that spares it."""

    def __init__(self, text: str, *, rule: str, known: expression.Known = KNOWN) -> None:
        """Compile.

        Raises:
            RuleError: it does not parse, or names something that is not there; the message says in which line and column.

        """
        super().__init__(text, known, rule=rule)
        self.on, self.statuses, self.wants = quick_look(text)
        self._call_may_do = look_at_call(text)
        self._of_event = [(name, EVENT_FIELDS[name], named) for name, named in self.names["event"].below.items()]
        self.looks_at_body = "raw" in self.names["event"].below
        below_call = self.names["call"].below if "call" in self.names else {}
        self._of_call = [(name, CALL_FIELDS[name], named) for name, named in below_call.items()]

    def may_hold(self, event: CallEvent) -> bool:
        """Whether the quick look lets an event through."""
        fits = event.type in self.on and (self.statuses is None or event.status in self.statuses)
        return fits and (self.wants is None or self.wants(event))

    def true_for(self, event: CallEvent, call: Call | None, params: Mapping[str, Any]) -> bool:
        """Evaluate; whatever is not true is false.

        Raises:
            Exception: the expression cannot be evaluated, though all it names is there.

        """
        if self._call_may_do is not None and call is not None and not self._call_may_do(call):
            return False
        return self.value_for(event, call, params) is True

    def value_for(self, event: CallEvent, call: Call | None, params: Mapping[str, Any]) -> Any:
        """Evaluate; None where the expression cannot be decided for want of a value. Raises as ``true_for``."""
        absent: list[bool] = []
        context: dict[str, Any] = {"event": _told(self._of_event, event, absent)}
        if self._of_call:
            context["call"] = _told(self._of_call, call, absent)
        if "params" in self.names:
            context["params"] = (
                given(params, self.names["params"], absent) if self.names["params"].below else dict(params)
            )
        try:
            return self.execute(context)
        except Exception:
            if absent:
                return None
            raise

    def values(self, event: CallEvent, call: Call, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the expression saw, by path, for its explanation."""
        found: dict[str, Any] = {}
        for root, name, *rest in self.valued_paths:
            if root == "event":
                value = reached(EVENT_FIELDS[name](event), tuple(rest))
            elif root == "call":
                value = reached(CALL_FIELDS[name](call), tuple(rest))
            else:
                value = reached(params, (name, *rest))
            found[".".join((root, name, *rest))] = value
        return found


def _told(
    fields: Sequence[tuple[str, Callable[[Any], Any], expression.Named]], of: Any, absent: list[bool]
) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, read, named in fields:
        value = read(of)
        if value is None:
            absent.append(True)
        told[name] = given(value, named, absent)
    return told


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
        return aim.at(call, because, compiled.values(event, call, params))

    said = (expression, aim.scope, str(aim.hold), aim.reach, *([params_hash(params)] if params else []))

    def saw(event: CallEvent, call: Call) -> Mapping[str, Any]:
        return compiled.values(event, call, params)

    return EventRule(
        name,
        "1",
        digest(said, 6),
        evaluate,
        compiled.on,
        compiled.wants,
        saw,
        compiled.looks_at_body,
        compiled.statuses,
        aim=aim,
        expression=expression,
    )
