"""Whether a webhook comes from whom it says: over the raw bytes, in constant time, with every secret in rotation."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping

from consumer.ingest import standard_webhooks
from consumer.model.accounts import (
    BearerAuth,
    HeaderAuth,
    HmacAuth,
    WebhookAuth,
)


class NotAuthentic(Exception):
    """The sender did not prove who it is. ``reason`` names what is wrong without telling what would be right."""


def authenticate(auth: WebhookAuth, headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
    """Check a webhook.

    Args:
        auth: how this account's webhooks are authenticated.
        headers: the request's headers, a mapping that looks names up without regard to case.
        body: the raw bytes as received.
        now: seconds since the epoch, for signed times; None is the clock's.

    Raises:
        NotAuthentic: a missing or wrong secret or signature, or a signed time more than five minutes off.

    """
    if auth.type == "header":
        _match_any(auth, headers.get(auth.name), f"header {auth.name}")
    elif auth.type == "bearer":
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        _match_any(auth, token.strip() if scheme.lower() == "bearer" else None, "the bearer token")
    elif auth.type == "hmac-sha256":
        _check_hmac(auth, headers.get(auth.header), body)
    elif auth.type == "standard-webhooks":
        wrong = standard_webhooks.what_is_wrong(auth.secrets, headers, body, time.time() if now is None else now)
        if wrong:
            raise NotAuthentic(wrong)


def _match_any(auth: HeaderAuth | BearerAuth, given: str | None, what: str) -> None:
    if not given:
        raise NotAuthentic(f"{what} is missing")
    shown = given.encode(errors="surrogatepass")  # bytes that are not UTF-8 reach us as lone surrogates
    matches = [hmac.compare_digest(shown, secret.get_secret_value().encode()) for secret in auth.secrets]
    if not any(matches):
        raise NotAuthentic(f"{what} is wrong")


def _check_hmac(auth: HmacAuth, given: str | None, body: bytes) -> None:
    if not given:
        raise NotAuthentic(f"header {auth.header} is missing")
    if not given.startswith(auth.prefix):
        raise NotAuthentic(f"header {auth.header} is not a signature of the configured form")
    text = given[len(auth.prefix) :].strip()
    try:
        signature = bytes.fromhex(text) if auth.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise NotAuthentic(f"header {auth.header} is not {auth.encoding}") from None
    matches = [
        hmac.compare_digest(hmac.digest(secret.get_secret_value().encode(), body, hashlib.sha256), signature)
        for secret in auth.secrets
    ]
    if not any(matches):
        raise NotAuthentic(f"the signature in {auth.header} is wrong")
