"""What rules over totals see: what happened in a scope within a window."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumer.model.durations import parse_duration, parse_hold
from consumer.model.refusals import RefusedError
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.stops import DEFAULT_HOLD, HoldText, RuleError, Stop

KINDS = ("campaign", "agent", "account", "number")
LONGEST_SECONDS = 31 * 86_400.0
HEARD_OF = ("campaign", "agent")
"""What the totals of an account name of it."""
FIGURES = (
    *("queued", "started", "finished", "completed", "failed", "retried", "cancelled", "connected", "open"),
    *("seconds", "cost"),
)

ScopeName = tuple[str, str, str]
"""Account, kind, name (empty for the account)."""


@dataclass(frozen=True, slots=True)
class Over:
    """Which totals a rule sees: a kind of scope, the last so long (seconds, or ``"10m"``), at least so many finished.

    Raises:
        RuleError: no such kind, no such duration, or less than one attempt.

    """

    scope: str
    window: float | str
    at_least: int = 1

    def __post_init__(self) -> None:
        if self.scope not in KINDS:
            raise RuleError(f"there are no totals over {self.scope!r}; there are {', '.join(KINDS)}")
        if isinstance(self.window, str):
            try:
                object.__setattr__(self, "window", parse_duration(self.window))
            except RefusedError as error:
                raise RuleError(f"over.window: {error}") from error
        if not 0 < self.seconds <= LONGEST_SECONDS or self.at_least < 0:
            raise RuleError("totals need a window of more than nothing and at most 31d, and at_least of 0 or more")

    @property
    def seconds(self) -> float:
        return float(self.window)


@dataclass(frozen=True, slots=True)
class Totals:
    """What happened in one scope within a window, up to ``until`` (broker's time, seconds).

    Counts are whole but given as floats, so that expressions may multiply them. ``open`` calls wait now. ``sums`` holds the
    rule's measures by their names, ``heard_of`` which campaigns and agents of an account there was word of.
    """

    account: str
    kind: str
    name: str
    until: float
    queued: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    completed: float = 0.0
    failed: float = 0.0
    retried: float = 0.0
    cancelled: float = 0.0
    connected: float = 0.0
    open: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0
    sums: Mapping[str, float] = field(default_factory=dict, hash=False)
    heard_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def share(self, a: str | float | None, b: str | float | None) -> float | None:
        """Divide one figure by another, each a number or a name such as ``"failed"``; None where there is nothing to divide.

        Raises:
            RuleError: there is no figure and no sum of that name.

        """
        part, whole = self._figure(a), self._figure(b)
        return None if part is None or not whole else part / whole

    def scope(self) -> Scope | None:
        """The scope as a stop names it; None for an account, which no stop names."""
        match self.kind:
            case "campaign":
                return Scope.campaign(self.name)
            case "agent":
                return Scope.agent(self.name)
            case "number":
                return Scope.numbers([self.name])
        return None

    def scopes(self, kind: ScopeKind) -> list[Scope]:
        """What a stop of this kind means here: the scope itself, or each campaign or agent of an account."""
        own = self.scope()
        if own is not None:
            return [own] if own.kind is kind else []
        make = Scope.campaign if kind is ScopeKind.CAMPAIGN else Scope.agent
        return [make(name) for name in self.heard_of.get(kind.value, ())]

    def stops(
        self, *, reason: str, hold: HoldText | float | None = None, values: Mapping[str, Any] | None = None
    ) -> list[Stop]:
        """Stop the scope; of an account, each campaign there was word of. ``hold`` as for ``Stop``, or in seconds."""
        own = self.scope()
        made = []
        for scope in [own] if own else self.scopes(ScopeKind.CAMPAIGN):
            told = DEFAULT_HOLD[scope.kind] if hold is None else hold
            made.append(Stop(scope, reason, parse_hold(told) if isinstance(told, str) else told, values=values or {}))
        return made

    def _figure(self, told: str | float | None) -> float | None:
        if not isinstance(told, str):
            return told
        if told in FIGURES:
            figure: float = getattr(self, told)
            return figure
        if told not in self.sums:
            raise RuleError(f"totals have no {told!r}; there are {', '.join((*FIGURES, *self.sums))}")
        return self.sums[told]


class WindowTotals(Protocol):
    """A scope's counts within a window: by the names of ``FIGURES``, by measure, and how many calls wait now."""

    @property
    def figures(self) -> Mapping[str, float]: ...
    @property
    def sums(self) -> Mapping[str, float]: ...
    @property
    def open(self) -> int: ...


class SumsOver(Protocol):
    """Where totals come from."""

    def within(self, scope: str, first_minute: int, last_minute: int) -> WindowTotals:
        """Add up ``account/kind/name`` from one minute to another (their first seconds), both included."""
        ...
