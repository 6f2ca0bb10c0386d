"""From the configured rules to what takes their signals in."""

from collections.abc import Collection, Iterable

from consumer.ingest.signals import SignalIntake, Signalled
from consumer.kafka.topics import Topics
from consumer.model.stops import Aim
from consumer.settings import RuleSettings


def aim_of(settings: RuleSettings) -> Aim | None:
    """What a rule's ``stop`` names."""
    stop = settings.stop
    return Aim(stop.scope, stop.hold, stop.reach) if stop else None


def signalled_of(rules: Iterable[RuleSettings]) -> tuple[Signalled, ...]:
    """Give the rules that signals reach."""
    return tuple(Signalled(rule.name, rule.signal.auth, aim_of(rule)) for rule in rules if rule.signal is not None)


def intakes_of(signalled: Iterable[Signalled], accounts: Collection[str], topics: Topics) -> list[SignalIntake]:
    """What takes the signals in, for each rule that has any."""
    return [SignalIntake(one, accounts, topics) for one in signalled]
