"""From the configuration to the values that the parts take."""

from contextlib import AbstractContextManager

from consumer.correlate.calls import DEFAULT_KEEPING, Keeping
from consumer.guard.notify import Receiver
from consumer.ingest.spool import Spool, spool_in
from consumer.kafka.connection import Connection
from consumer.kafka.topics import Topics
from consumer.model import limits as model
from consumer.model.accounts import BearerAuth, HeaderAuth
from consumer.model.limits import Limits
from consumer.model.protected import Protected
from consumer.service.assembly_rules import rules_of
from consumer.settings import Limit, LimitsSettings, Settings
from consumer.settings.notify import NotifySettings, masked_address

__all__ = [
    "connection_of",
    "keeping_of",
    "limits_of",
    "protected_of",
    "receiver_of",
    "rules_of",
    "spool_of",
    "topics_of",
]


def connection_of(settings: Settings, bootstrap_servers: str) -> Connection:
    """How to reach the configured cluster, or the embedded one, which has one node and no security."""
    kafka = settings.kafka
    security = kafka.security
    if kafka.bootstrap_servers is None:
        return Connection(bootstrap_servers, topic_prefix=kafka.topic_prefix, compression=kafka.compression)
    return Connection(
        bootstrap_servers,
        topic_prefix=kafka.topic_prefix,
        replication_factor=kafka.replication_factor,
        compression=kafka.compression,
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


def spool_of(settings: Settings, topics: Topics) -> AbstractContextManager[Spool | None]:
    """Open this process's share of what may be kept on the disk while Kafka does not take webhooks."""
    most_bytes = (settings.http.spool or 0) // settings.http.workers
    kept = (topics.call_events, topics.rejected)  # a signal that comes late might stop what nobody means any more
    return spool_in(settings.data_dir / "spool", topics=kept, most_bytes=most_bytes)


def protected_of(settings: Settings) -> Protected:
    protected = settings.protected
    return Protected(frozenset(protected.campaigns), frozenset(protected.agents), frozenset(protected.numbers))


def limits_of(limits: LimitsSettings) -> Limits:
    """How much rules may stop without asking."""

    def limit(told: Limit | None) -> model.Limit | None:
        return model.Limit(told.calls, told.share, told.within, told.share_from) if told else None

    return Limits(limit(limits.per_rule), limit(limits.per_campaign), limit(limits.per_account))


def receiver_of(notify: NotifySettings) -> Receiver | None:
    """Who is told when something is loud; None where nobody is."""
    if notify.url is None:
        return None
    headers: dict[str, str] = {}
    match notify.auth:
        case HeaderAuth(name=name, secrets=secrets):
            headers = {name: secrets[0].get_secret_value()}
        case BearerAuth(secrets=secrets):
            headers = {"Authorization": f"Bearer {secrets[0].get_secret_value()}"}
    return Receiver(notify.url.get_secret_value(), masked_address(notify.url), headers, notify.within)


def keeping_of(settings: Settings, topics: Topics) -> Keeping:
    """How long calls are kept: those that wait are written anew after half of what the topic keeps."""
    retention = topics.call_events.retention_seconds
    carry = DEFAULT_KEEPING.carry_seconds if retention is None else retention / 2
    return Keeping(settings.calls.forget_after, carry)
