"""The kinds of rules as values: what each is asked about, and on what terms it may act."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.orders import OPT_OUT, RULE, Mode
from consumer.model.over import Over, Totals
from consumer.model.status import EventType
from consumer.model.stops import Aim, Stop
from consumer.model.throttles import NO_THROTTLE, Throttle
from consumer.model.totals import Measure

RuleFunction = Callable[[CallEvent, Call], "Stop | None"]
TotalsFunction = Callable[[Totals], "Stop | Iterable[Stop] | None"]
Measured = Mapping[str, str | Callable[[CallEvent], float | None]]
"""What a rule adds up: its own name for it, and a path in the event, or a function of the event."""
DEFAULT_BUDGET_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a rule may act. ``aim`` is what waits for approval where the rule raises and ``on_error`` is hold."""

    mode: Mode = Mode.ENFORCE
    canary_share: float = 1.0
    canary_campaigns: tuple[str, ...] = ()
    throttle: Throttle = NO_THROTTLE
    on_error: Literal["skip", "hold"] = "skip"
    aim: Aim | None = None
    budget_seconds: float = DEFAULT_BUDGET_SECONDS
    expression: str | None = None
    params_type: type[Any] | None = None
    bind: Callable[[Any], Callable[..., Any]] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Rule(Terms):
    """What every rule has: the name, the version and the hash that stand in its decisions."""

    name: str
    version: str
    hash: str

    @property
    def lane(self) -> int:
        """Opt-outs leave before other rules' stops."""
        return OPT_OUT if self.name.replace("_", "-") == "opt-out" else RULE


@dataclass(frozen=True, slots=True)
class EventRule(Rule):
    """A rule that is asked once per call event, as the correlator runs it.

    ``wants`` is a quick look at the event, as are the ``statuses`` that it must have one of: where that is false,
    ``evaluate`` would give None. ``saw`` gives the values that it
    decides on, by name, where the rule can tell. One that never ``looks_at_body`` does not see ``event.raw``.
    """

    evaluate: RuleFunction
    on: frozenset[EventType] = frozenset(EventType)
    wants: Callable[[CallEvent], bool] | None = field(default=None, compare=False)
    saw: Callable[[CallEvent, Call], Mapping[str, Any]] | None = field(default=None, compare=False)
    looks_at_body: bool = True
    statuses: frozenset[str] | None = None

    def __call__(self, event: CallEvent, call: Call) -> Stop | None:
        """Ask the rule, as its own tests do."""
        return self.evaluate(event, call)


@dataclass(frozen=True, slots=True)
class TotalsRule(Rule):
    """A rule over a scope's totals in a window, as guard runs it. ``measures`` are what it adds up, by its own names."""

    evaluate: TotalsFunction
    over: Over
    measures: Mapping[str, Measure] = field(default_factory=dict, hash=False)
    measures_of: Callable[[Any], Measured] | None = field(default=None, compare=False)

    def with_over(self, over: Over) -> "TotalsRule":
        """Decide over other totals; the hash says so too."""
        return replace(self, over=over, hash=digest((self.hash, over.scope, str(over.seconds), str(over.at_least)), 6))

    def __call__(self, totals: Totals) -> Stop | Iterable[Stop] | None:
        """Ask the rule, as its own tests do."""
        return self.evaluate(totals)


@dataclass(frozen=True, slots=True)
class Silence:
    """A campaign of which nothing has been heard for ``seconds``, though ``open`` of its calls wait."""

    account: str
    campaign_id: str
    seconds: float
    open: int


@dataclass(frozen=True, slots=True)
class SilenceRule(Rule):
    """A rule that stops nothing: asked about silent campaigns, it gives the text of an alert, or None."""

    evaluate: Callable[[Silence], str | None]


@dataclass(frozen=True, slots=True)
class SignalRule(Rule):
    """A rule that is asked by nobody: somebody outside says by webhook what it stops."""
