"""Why a cluster does not let us in. aiokafka's clients keep the reason to themselves ("Unable to bootstrap").

So after a client could not start, every server is tried once more by itself, and what it says is put into words: what
happened, and which key of the configuration to look at. Nothing here shows a password.
"""

import asyncio
import ssl
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable

ASK_SECONDS = 3.0


async def unreachable(connection: Connection, error: Exception) -> LogUnavailable:
    """Say why no client can start; takes ``ASK_SECONDS`` at most. ``error`` is what aiokafka said."""
    options = connection.client_options("callbreaker-diagnosis")
    del options["bootstrap_servers"]
    hosts = [(host, port) for host, port, _ in collect_hosts(connection.bootstrap_servers, randomize=False)]
    found = [said for said in await asyncio.gather(*[_ask(host, port, options) for host, port in hosts]) if said]
    told = next((reason for said in found if (reason := _reason(connection, said))), None)
    if told is None:
        what = str((found or [error])[0]) or "nothing came in time"
        told = f"does not answer ({what}): check kafka.bootstrap_servers and kafka.security"
    return LogUnavailable(f"Kafka at {connection.bootstrap_servers} {told}")


async def _ask(host: str, port: int, options: dict[str, Any]) -> Exception | None:
    """Connect, prove who we are, ask something; gives what went wrong."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            connection = await create_conn(host, port, **options)
            try:
                await connection.send(MetadataRequest([]))
            except KafkaConnectionError:
                # It has greeted us and hangs up at the first question: it wants SASL before.
                wants_sasl: Exception = IllegalSaslStateError()
                return wants_sasl
            finally:
                connection.close()
    except (KafkaError, OSError, TimeoutError) as error:
        return error
    return None


def _reason(connection: Connection, error: Exception) -> str | None:
    """Put what one server said into words; None where it said nothing of why."""
    protocol, tls = connection.protocol, connection.protocol.endswith("SSL")
    match error:
        case SaslAuthenticationFailed():
            return (
                f"refuses the user {connection.username!r} with {connection.mechanism}: check username, password and "
                "mechanism in kafka.security"
            )
        case UnsupportedSaslMechanismError():
            return f"does not offer {connection.mechanism}: check kafka.security.mechanism"
        case IllegalSaslStateError():
            return f"does not take {protocol} at this port: check kafka.security.protocol and kafka.bootstrap_servers"
        case ssl.SSLCertVerificationError():
            return (
                f"has a certificate that is not trusted ({error.verify_message}): check that kafka.security.ca_file is the "
                "authority that signed it, and that kafka.bootstrap_servers has the names that it is for"
            )
        case KafkaConnectionError() if tls:
            # TLS 1.3 tells of a refused client certificate only after the handshake.
            ours = "is not accepted" if connection.cert_file else "is wanted and none is configured"
            return f"closed the connection after the TLS handshake; probably a client certificate {ours}: check {_PAIR}"
        case KafkaConnectionError():
            return f"closed the connection: check that kafka.security.protocol ({protocol}) is that of this port"
        case ssl.SSLError() if "CERT" in (error.reason or ""):
            return f"does not accept our client certificate ({error.reason}): check {_PAIR}"
        case ssl.SSLError() | ConnectionResetError() | ConnectionAbortedError() if tls:
            return (
                f"does not speak TLS at this port: check that kafka.security.protocol ({protocol}) is that of this port"
            )
    return None


_PAIR = "kafka.security.cert_file and kafka.security.key_file"
