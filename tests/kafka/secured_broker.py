"""A real broker that asks who one is: listeners with SASL, with TLS, with TLS and client certificates, and with both."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consumer.kafka.embedded import prepare
from consumer.kafka.embedded_broker import Broker
from consumer.kafka.embedded_config import HOST, Node
from consumer.kafka.embedded_probe import until_answers
from consumer.kafka.embedded_state import Cluster, new_cluster_id, with_free_ports

USER = "callbreaker"
PLAIN_PASSWORD = "the-password-for-plain"
SCRAM_PASSWORD = "the-password-for-scram"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
LISTENERS = {"SASL": "SASL_PLAINTEXT", "TLS": "SSL", "MUTUAL": "SSL", "BOTH": "SASL_SSL"}
HEAP_MB = 256


class Authority:
    """Signs certificates; ``ca_file`` is its own, in PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key_usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), True
        )
        self._certificate = builder.add_extension(key_usage, critical=True).sign(self._key, hashes.SHA256())
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(_pem(self._certificate))

    def issue(self, name: str, address: str) -> tuple[Path, Path]:
        """Give a certificate for an IP address and its key, each in a PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        certificate = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        cert_file, key_file = self._folder / f"{name}.cert.pem", self._folder / f"{name}.key.pem"
        cert_file.write_bytes(_pem(certificate))
        key_file.write_bytes(_private(key, serialization.NoEncryption()))
        return cert_file, key_file

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, public = datetime.now(UTC), key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


@dataclass(frozen=True)
class Secured:
    """Where each listener is, and what a client needs to be let in, or not."""

    servers: dict[str, str]
    folder: Path
    authority: Authority

    def encrypted(self, key_file: Path) -> Path:
        """Write the key once more, with a passphrase."""
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        encrypted = key_file.with_suffix(".encrypted.pem")
        encrypted.write_bytes(_private(key, serialization.BestAvailableEncryption(b"passphrase")))
        return encrypted


@asynccontextmanager
async def secured_broker(folder: Path) -> AsyncIterator[Secured]:
    """Start one, and end it at last; its own traffic goes over a listener without security."""
    authority = Authority(folder, "authority")
    ports = with_free_ports(Cluster("", tuple(Node(number, 0, 0) for number in range(1, 4))), 0).nodes
    node = Node(1, ports[0].client_port, ports[0].controller_port)
    free = [port for other in ports[1:] for port in (other.client_port, other.controller_port)]
    servers = {name: f"{HOST}:{port}" for name, port in zip(LISTENERS, free, strict=True)}
    broker = Broker(folder, await prepare(), HEAP_MB, node.id)
    broker.write_settings(node, (node,))
    more = _settings(node, servers, _keystore(folder, authority), authority.ca_file)
    for name in ("server.properties", "format.properties"):
        with (broker.directory / name).open("a") as file:
            file.writelines(f"{key}={value}\n" for key, value in more.items())
    try:
        await _format(broker)
        await broker.start()
        await until_answers(broker, node)
        yield Secured(servers, folder, authority)
    finally:
        await broker.stop()


async def _format(broker: Broker) -> None:
    credentials = (f"{mechanism}=[name={USER},password={SCRAM_PASSWORD}]" for mechanism in MECHANISMS[1:])
    added = [argument for credential in credentials for argument in ("--add-scram", credential)]
    where = ("-t", new_cluster_id(), "-c", "format.properties")
    await broker.run("formatting", "kafka.tools.StorageTool", "format", *where, *added)
    (broker.directory / "data.new").rename(broker.directory / "data")


def _settings(node: Node, servers: dict[str, str], keystore: Path, truststore: Path) -> dict[str, str]:
    """What comes after the embedded broker's own settings; of a key that is there twice, Java takes the last."""
    listeners = {"CLIENT": f"{HOST}:{node.client_port}", **servers}
    advertised = ",".join(f"{name}://{server}" for name, server in listeners.items())
    protocols = {"CLIENT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
    settings = {
        "listeners": f"{advertised},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(truststore),
        "listener.name.mutual.ssl.client.auth": "required",
    }
    modules = "org.apache.kafka.common.security"
    for name in ("sasl", "both"):
        own = f"listener.name.{name}"
        settings[f"{own}.sasl.enabled.mechanisms"] = ",".join(MECHANISMS)
        settings[f"{own}.plain.sasl.jaas.config"] = (
            f'{modules}.plain.PlainLoginModule required user_{USER}="{PLAIN_PASSWORD}";'
        )
        for mechanism in MECHANISMS[1:]:
            settings[f"{own}.{mechanism.lower()}.sasl.jaas.config"] = f"{modules}.scram.ScramLoginModule required;"
    return settings


def _keystore(folder: Path, authority: Authority) -> Path:
    cert_file, key_file = authority.issue("broker", HOST)
    keystore = folder / "broker.pem"
    keystore.write_bytes(key_file.read_bytes() + cert_file.read_bytes())
    return keystore


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
