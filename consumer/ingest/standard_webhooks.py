"""Standard Webhooks 1.0.0: one check for both of its signatures, v1 (HMAC-SHA256) and v1a (ed25519).

The package ``standardwebhooks`` would do for v1 alone: it reads the clock itself, lets a ``.`` into what is signed, and one
signature that it cannot parse makes it refuse those beside it, which is what a rotation looks like.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from consumer.model.accounts import PUBLIC_KEY_PREFIX

TOLERANCE_SECONDS = 300.0
MAX_SIGNATURES = 10
LONGEST_TIMESTAMP = 11


def what_is_wrong(secrets: Iterable[SecretStr], headers: Mapping[str, str], body: bytes, now: float) -> str | None:
    """Say why a webhook does not prove where it comes from, without telling what would; None when it does.

    Args:
        secrets: ``whsec_`` + base64 for v1, ``whpk_`` + base64 for v1a; one that matches is enough.
        headers: the request's headers, looked up by ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.
        body: the raw bytes as received.
        now: seconds since the epoch.

    """
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    listed = headers.get("webhook-signature", "").split()
    for name, value in (("id", message_id), ("timestamp", timestamp), ("signature", listed)):
        if not value:
            return f"header webhook-{name} is missing"
    if "." in message_id or not (message_id.isascii() and message_id.isprintable()):
        return "webhook-id has a full stop, or a character that is not printable ASCII"
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= LONGEST_TIMESTAMP):
        return "webhook-timestamp is not a whole number of seconds since the epoch"
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return f"webhook-timestamp is more than {TOLERANCE_SECONDS:.0f} s too old or too new"
    if len(listed) > MAX_SIGNATURES:  # checking a v1a takes 0.2 ms, and whoever asks for it has proven nothing yet
        return f"webhook-signature holds more than {MAX_SIGNATURES} signatures"
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    given = _by_version(listed)
    matches = [_matches(secret.get_secret_value(), signed, given) for secret in secrets]
    return None if any(matches) else "no signature in webhook-signature is right"


def _by_version(listed: Iterable[str]) -> dict[str, list[bytes]]:
    """Read the signatures by version; what is of no known form is passed over, since another may match."""
    given: dict[str, list[bytes]] = {"v1": [], "v1a": []}
    for one in listed:
        version, _, text = one.partition(",")
        if version in given:
            try:
                given[version].append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return given


def _matches(secret: str, signed: bytes, given: Mapping[str, Iterable[bytes]]) -> bool:
    """Compare with the signatures of the one version that this kind of secret makes."""
    if secret.startswith(PUBLIC_KEY_PREFIX):
        key = base64.b64decode(secret.removeprefix(PUBLIC_KEY_PREFIX))
        return any(_is_signed(key, signed, signature) for signature in given["v1a"])
    expected = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
    return any(hmac.compare_digest(expected, signature) for signature in given["v1"])


def _is_signed(public_key: bytes, signed: bytes, signature: bytes) -> bool:
    # Imported when a first v1a comes: 9 MB and 20 ms that most installations never need.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True
