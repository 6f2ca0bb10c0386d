"""From the configured rules to what takes their signals in: apart, since who only takes webhooks needs no rules."""

from consumer.ingest.signals import SignalIntake, Signalled
from consumer.kafka.topics import Topics
from consumer.model.stops import Aim
from consumer.settings import RuleSettings, Settings


def aim_of(settings: RuleSettings) -> Aim | None:
    """What a rule's ``stop`` names."""
    stop = settings.stop
    return Aim(stop.scope, stop.hold, stop.reach) if stop else None


def signals_of(settings: Settings, topics: Topics) -> list[SignalIntake]:
    """What takes the signals in, for each rule that has any."""
    return [
        SignalIntake(Signalled(rule.name, rule.signal.auth, aim_of(rule)), settings.accounts, topics)
        for rule in settings.rules
        if rule.signal is not None
    ]
