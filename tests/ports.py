"""Ports for what a test starts."""

import secrets
import socket
from contextlib import suppress

from consumer.kafka.embedded_state import PORTS


def free_port() -> int:
    """Give a port that nothing listens on, and that no outgoing connection is given before the test comes to it."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
