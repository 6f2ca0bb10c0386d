"""What a backtest tries: rules, in a setting."""

from dataclasses import dataclass, field, replace

from consumer.backtest.course import Course, Setting, Witness, nobody
from consumer.backtest.recorded import Recorded
from consumer.backtest.result import Named
from consumer.backtest.tally import Tally
from consumer.model.limits import NO_LIMITS
from consumer.model.rule_set import RuleSet
from consumer.model.rules import Rule, SignalRule, SilenceRule


@dataclass(frozen=True, slots=True)
class Plan:
    """``rules`` are tried in ``setting``. ``beside`` are rules in force, run along to see what overlaps."""

    rules: RuleSet
    setting: Setting = field(default_factory=Setting)
    beside: RuleSet = field(default_factory=RuleSet)
    witness: Witness = nobody

    def tested(self, *, with_signals: bool) -> list[Named]:
        """Give the rules under test; ``with_signals`` where what was tried on has those that came."""
        return [
            Named(rule.name, rule.version, rule.hash, rule.mode, _not_tried(rule, with_signals=with_signals))
            for rule in self.rules
        ]

    def with_witness(self, witness: Witness) -> "Plan":
        """Have somebody told of everything that the rules make."""
        return replace(self, witness=witness)

    def without_limits(self) -> "Plan":
        """Let nothing wait for approval: a few calls written down for a test are no measure of a share."""
        return replace(self, setting=replace(self.setting, limits=NO_LIMITS))

    def course(self, tally: Tally, recorded: Recorded | None = None) -> Course:
        """Begin at the beginning."""
        every = RuleSet.of([*self.rules, *self.beside])
        return Course(every, self.setting, tally, recorded=recorded, witness=self.witness)

    def tally(self) -> Tally:
        """Count from nothing."""
        return Tally(rule.name for rule in self.rules)


def _not_tried(rule: Rule, *, with_signals: bool) -> str | None:
    if isinstance(rule, SilenceRule):
        return "it stops nothing, and alerts are not tried"
    if isinstance(rule, SignalRule) and not with_signals:
        return "its signals are recorded in Kafka, and no file of events has them"
    return None
