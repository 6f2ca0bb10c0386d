"""How to reach a cluster, as one value that producer, consumers and admin client are made from."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.kafka.closed_transport import take_closed_for_lost
from consumer.kafka.errors import LogUnavailable

take_closed_for_lost()


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Kafka is and how to prove who we are.

    ``protocol`` is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; ``mechanism`` PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512;
    ``compression`` of what is written none, gzip, snappy, lz4 or zstd: whatever it is, all of them are read.
    """

    bootstrap_servers: str
    topic_prefix: str = ""
    replication_factor: int = 1
    compression: str = "snappy"
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def group_id(self, role: str) -> str:
        """Name the consumer group of a role in this installation."""
        return f"{self.topic_prefix}callbreaker-{role}"

    def client_options(self, client_id: str) -> dict[str, Any]:
        """Give the keyword arguments that every aiokafka client takes.

        Raises:
            LogUnavailable: a certificate or key file cannot be used.

        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": client_id,
            "security_protocol": self.protocol,
        }
        if self.protocol in {"SSL", "SASL_SSL"}:
            options["ssl_context"] = self._ssl_context()
        if self.mechanism and self.protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except OSError as error:
            raise _unusable("ca_file", str(self.ca_file), error) from error
        if self.cert_file:
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
            except OSError as error:
                raise _unusable("cert_file and key_file", f"{self.cert_file}, {self.key_file}", error) from error
        return context


def _no_passphrase() -> str:
    """Answer for OpenSSL, which would otherwise ask on the terminal for the passphrase of an encrypted key."""
    return ""


def _unusable(keys: str, files: str, error: OSError) -> LogUnavailable:
    what = error.strerror or str(error)
    return LogUnavailable(
        f"kafka.security.{keys} ({files}) cannot be used: {what}; name readable PEM, keys unencrypted"
    )
