"""Where the service runs: its Kafka, its address, and who may operate it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from consumer.model.accounts import OwnSecret, Secret, Section, Text
from consumer.model.durations import Duration, PositiveDuration, Size
from consumer.model.refusals import RefusedError, refuse_all
from consumer.service.address import reachable_at


class KafkaSecurity(Section):
    """How to reach the brokers. Files are PEM; ``ca_file`` ``None`` means the system's own authorities."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: Text | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_all(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[RefusedError]:
        for key in ("mechanism", "username", "password"):
            present = getattr(self, key) is not None
            if self.protocol.startswith("SASL_") and not present:
                yield RefusedError(f"{self.protocol} needs `{key}`", f"add `{key}`, or correct the protocol", key)
            if present and not self.protocol.startswith("SASL_"):
                yield RefusedError(
                    f"`{key}` is not used by {self.protocol}", "write SASL_SSL as protocol, or remove it", key
                )
        for key in ("ca_file", "cert_file", "key_file"):
            if getattr(self, key) is not None and not self.protocol.endswith("SSL"):
                yield RefusedError(
                    f"`{key}` is not used by {self.protocol}", "write SSL or SASL_SSL as protocol, or remove it", key
                )
        if (self.cert_file is None) != (self.key_file is None):
            given, lacking = ("cert_file", "key_file") if self.cert_file else ("key_file", "cert_file")
            yield RefusedError(f"`{given}` without `{lacking}`", "give both, or neither", given)


def _join_servers(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value) else value


BootstrapServers = Annotated[
    str,
    BeforeValidator(_join_servers),
    Field(
        pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}(,([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5})*$"
    ),
]
PartitionedTopic = Literal["call-events", "scope-totals", "terminations", "rejected"]


class KafkaSettings(Section):
    """Which Kafka. Without ``bootstrap_servers`` the embedded one, for which ``replication_factor`` is always 1.

    ``wait_at_start`` is for how many seconds a start waits for a cluster that does not answer.
    ``partitions`` overrides single topics; ``None`` means 64/16/32/6 in a configured cluster and 6 in the embedded one.
    """

    bootstrap_servers: BootstrapServers | None = None
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    replication_factor: int = Field(default=3, ge=1, le=32767)
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "snappy"
    wait_at_start: Annotated[Duration, Field(ge=0)] = 0.0
    security: KafkaSecurity = KafkaSecurity()
    partitions: dict[PartitionedTopic, Annotated[int, Field(ge=1, le=1024)]] | None = None

    @model_validator(mode="after")
    def _security_is_for_a_cluster(self) -> Self:
        if self.bootstrap_servers is None and self.security != KafkaSecurity():
            raise RefusedError(
                "security without `bootstrap_servers` would be ignored: the embedded Kafka would start",
                "add `bootstrap_servers`, or remove `security`",
                "security",
            )
        return self


class HttpSettings(Section):
    """Where webhooks, operator API and page are served; ``port`` 0 is any free one, ``max_body`` is in bytes.

    ``spool`` is how many bytes of webhooks all workers may keep on the disk while Kafka does not take them; None is none.
    ``advertise`` is where the other processes of the installation reach this one: a host, or a URL without a path.
    """

    host: Text = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    advertise: Annotated[Text, AfterValidator(reachable_at)] | None = None
    workers: int = Field(default=1, ge=1, le=64)
    max_body: Annotated[Size, Field(ge=1024)] = 256 * 1024
    spool: Annotated[Size, Field(ge=1024 * 1024)] | None = None


class CallsSettings(Section):
    """How long calls are known. ``forget_after`` is in seconds after the last event of one that waits no more.

    Seven days is what ``call-events`` keeps: a view that is built again knows nothing older.
    """

    forget_after: Annotated[PositiveDuration, Field(le=604_800.0)] = 259_200.0


class Operator(Section):
    """Somebody who may look (viewer), stop calls (operator), or also approve what rules want (approver)."""

    name: Text
    role: Literal["viewer", "operator", "approver"]
    token: OwnSecret
