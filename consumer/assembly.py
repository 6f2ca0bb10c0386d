"""From the configuration to the values that the parts take."""

from consumer.correlate.calls import DEFAULT_KEEPING, Keeping
from consumer.kafka.connection import Connection
from consumer.kafka.topics import Topics
from consumer.model.orders import Mode
from consumer.model.protected import Protected
from consumer.model.rules import EventRule, RuleError, configured
from consumer.settings import RuleSettings, Settings
from handlers.rules.catalog import find
from handlers.rules.cel import Aim, cel_rule


def connection_of(settings: Settings, bootstrap_servers: str) -> Connection:
    """How to reach the configured cluster, or the embedded one, which has one node and no security."""
    kafka = settings.kafka
    security = kafka.security
    if kafka.bootstrap_servers is None:
        return Connection(bootstrap_servers, topic_prefix=kafka.topic_prefix)
    return Connection(
        bootstrap_servers,
        topic_prefix=kafka.topic_prefix,
        replication_factor=kafka.replication_factor,
        protocol=security.protocol,
        mechanism=security.mechanism,
        username=security.username,
        password=security.password.get_secret_value() if security.password else None,
        ca_file=security.ca_file,
        cert_file=security.cert_file,
        key_file=security.key_file,
    )


def topics_of(settings: Settings) -> Topics:
    """The topics with their partitions: few for the embedded broker, many for a cluster, or as configured."""
    prefix = settings.kafka.topic_prefix
    if settings.kafka.bootstrap_servers is None:
        counts = {"call-events": 6, "scope-totals": 6, "terminations": 6, "rejected": 6}
    else:
        counts = {"call-events": 64, "scope-totals": 16, "terminations": 32, "rejected": 6}
    counts |= {str(name): count for name, count in (settings.kafka.partitions or {}).items()}
    return Topics.named(
        prefix,
        call_events=counts["call-events"],
        scope_totals=counts["scope-totals"],
        terminations=counts["terminations"],
        rejected=counts["rejected"],
    )


def protected_of(settings: Settings) -> Protected:
    protected = settings.protected
    return Protected(frozenset(protected.campaigns), frozenset(protected.agents), frozenset(protected.numbers))


def keeping_of(settings: Settings, topics: Topics) -> Keeping:
    """How long calls are kept: those that wait are written anew after half of what the topic keeps."""
    retention = topics.call_events.retention_seconds
    carry = DEFAULT_KEEPING.carry_seconds if retention is None else retention / 2
    return Keeping(settings.calls.forget_after, carry)


def rules_of(settings: Settings) -> list[EventRule]:
    """Compile the configured rules on call events.

    Raises:
        RuleError: a rule cannot be found, does not compile, or is of a kind that is not there yet.

    """
    return [_rule(rule) for rule in settings.rules if not _only_recorded_over_totals(rule)]


def not_yet(settings: Settings) -> list[str]:
    """Name what is configured and checked but does nothing yet: told at every start instead of being believed."""
    notes = [
        f"rule {rule.name}: rules over totals (`over`) are not evaluated yet; in shadow, it records nothing"
        for rule in settings.rules
        if _only_recorded_over_totals(rule)
    ]
    notes += [
        f"rule {rule.name}: `on_error: hold` is not acted on yet; a rule that raises stops nothing"
        for rule in settings.rules
        if rule.on_error == "hold"
    ]
    if any(rule.mode is not Mode.SHADOW for rule in settings.rules):
        notes.append(
            "`limits` are not enforced yet; an order of a rule comes into force at once, however many it stops"
        )
    return notes


def _only_recorded_over_totals(rule: RuleSettings) -> bool:
    return rule.over is not None and rule.mode is Mode.SHADOW


def _rule(rule: RuleSettings) -> EventRule:
    if rule.over is not None:
        raise RuleError(
            f"rule {rule.name}: rules over totals (`over`) are not there yet; set its mode to shadow, or remove it"
        )
    if rule.handler is not None:
        try:
            found = find(rule.handler)
        except RuleError as error:
            raise RuleError(f"rule {rule.name}: {error}") from error
    else:
        if rule.when is None or rule.stop is None:
            raise RuleError(f"rule {rule.name}: it has neither `handler` nor `when` with `stop`")
        found = cel_rule(
            rule.name,
            rule.when,
            aim=Aim(rule.stop.scope, rule.stop.hold, rule.stop.reach),
            reason=rule.reason,
            params=rule.params,
        )
    share = 1.0
    campaigns: tuple[str, ...] = ()
    if rule.canary is not None:
        campaigns = rule.canary.campaigns
        share = rule.canary.share if rule.canary.share is not None else 1.0
    return configured(found, name=rule.name, mode=rule.mode, canary_share=share, canary_campaigns=campaigns)
