"""Identifiers that come out the same wherever and however often they are computed.

Every part is length-prefixed before hashing, so that ("ab", "c") and ("a", "bc") never meet.
"""

import zlib
from collections.abc import Iterable
from hashlib import blake2b

BODY = "body-"
"""What the id of a webhook begins with that carries none of its own; its body's hash follows, in hexadecimal."""


def digest(parts: Iterable[str], size_bytes: int = 16) -> str:
    """Hash ``parts`` into ``2 * size_bytes`` hexadecimal characters."""
    framed = b"".join([len(data := part.encode()).to_bytes(4, "big") + data for part in parts])
    return blake2b(framed, digest_size=size_bytes).hexdigest()


def termination_id(account: str, call_id: str, episode: int) -> str:
    """Name the decision to stop one call in one episode; the same for every rule that comes to it."""
    return digest(("termination", account, call_id, str(episode)))


def scope_termination_id(account: str, order_id: str, cut: int) -> str:
    """Name an order's stop of a whole scope by the provider itself; ``cut`` counts its requests from 0."""
    return digest(("scope", account, order_id, str(cut)))


def body_event_id(account: str, raw: bytes) -> str:
    """Name a webhook that carries no id of its own: identical bytes are one event, and nothing else is."""
    h = blake2b(raw, digest_size=16, key=account.encode()[:64])
    return f"{BODY}{h.hexdigest()}"


def call_name(account: str, call_id: str) -> str:
    """Give one text for account and call id, which no other call has: account names cannot hold the separator.

    A tuple would be one more thing for the garbage collector to walk over, for each call at hand.
    """
    return f"{account}/{call_id}"


def call_key(account: str, call_id: str) -> bytes:
    """Give the record key of a call's events."""
    return call_name(account, call_id).encode()


def partition_of(key: bytes, partitions: int) -> int:
    """Map a key to its partition with CRC-32 (IEEE), which is fixed for ever by golden vectors in the tests."""
    return zlib.crc32(key) % partitions


def mask_number(number: str | None) -> str:
    """Show a phone number by its last four digits only."""
    if not number:
        return "none"
    return f"•••{number[-4:]}" if len(number) > 4 else "•••"
