"""Where a process answers HTTP: the address that people are shown, and the one that other processes are told."""

import re
import socket
from urllib.parse import urlsplit

from consumer.model.refusals import RefusedError

EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 -- only compared with
_HOST = r"[A-Za-z0-9.:_-]+"


def shown_url(host: str, port: int) -> str:
    """Give the address for people on this machine, of a listener on ``host`` that has taken ``port``."""
    return f"http://{_in_url('127.0.0.1' if host in EVERYWHERE else host)}:{port}"


def advertised_url(host: str, port: int, advertise: str | None = None) -> str:
    """Give the address for the other processes of the installation; ``advertise`` is what ``reachable_at`` took."""
    if advertise is not None and "://" in advertise:
        return advertise
    return f"http://{_in_url(advertise or (socket.gethostname() if host in EVERYWHERE else host))}:{port}"


def reachable_at(value: str) -> str:
    """Take a host, or an http(s) URL of a host and perhaps a port; raises ``RefusedError``."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{_in_url(value)}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(_HOST, host) or re.search(r"\s", value):
        raise RefusedError("this is neither a host nor a web address", "write a host, or http://host:port")
    if parts.username is not None or parts.path or parts.query or parts.fragment or value.endswith(("?", "#")):
        raise RefusedError("this address has more than a host and a port", "write a host, or http://host:port")
    if host in EVERYWHERE:
        raise RefusedError("nobody can be reached at this address", "write this machine's own name or address")
    return value


def _in_url(host: str) -> str:
    """Write a host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
