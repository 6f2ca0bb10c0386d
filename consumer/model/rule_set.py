"""All rules in force, by what they are asked about."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from consumer.model.rules import EventRule, Rule, SignalRule, SilenceRule, TotalsRule
from consumer.model.totals import Measure


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in force, by what they are asked about."""

    on_events: tuple[EventRule, ...] = ()
    over_totals: tuple[TotalsRule, ...] = ()
    on_silence: tuple[SilenceRule, ...] = ()
    on_signals: tuple[SignalRule, ...] = ()

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "RuleSet":
        every = tuple(rules)
        return cls(
            tuple(r for r in every if isinstance(r, EventRule)),
            tuple(r for r in every if isinstance(r, TotalsRule)),
            tuple(r for r in every if isinstance(r, SilenceRule)),
            tuple(r for r in every if isinstance(r, SignalRule)),
        )

    def __iter__(self) -> Iterator[Rule]:
        return iter((*self.on_events, *self.over_totals, *self.on_silence, *self.on_signals))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What the correlators have to add up for the rules over totals, each once."""
        return tuple({m.name: m for rule in self.over_totals for m in rule.measures.values()}.values())

    @property
    def totals_of_numbers(self) -> bool:
        return any(rule.over.scope == "number" for rule in self.over_totals)

    @property
    def totals_name_scopes(self) -> bool:
        """Whether the totals of an account have to say which campaigns and agents there was word of."""
        return any(rule.over.scope == "account" for rule in self.over_totals)
