"""Whether a webhook comes from whom it says: over the raw bytes, in constant time, with every secret in rotation."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from consumer.model.accounts import (
    BearerAuth,
    HeaderAuth,
    HmacAuth,
    StandardWebhooksAuth,
    WebhookAuth,
)


class NotAuthentic(Exception):
    """The sender did not prove who it is. ``reason`` names what is wrong without telling what would be right."""


def authenticate(auth: WebhookAuth, headers: Mapping[str, str], body: bytes) -> None:
    """Check a webhook.

    Args:
        auth: how this account's webhooks are authenticated.
        headers: the request's headers, a mapping that looks names up without regard to case.
        body: the raw bytes as received.

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
        _check_standard(auth, headers, body)


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


def _check_standard(auth: StandardWebhooksAuth, headers: Mapping[str, str], body: bytes) -> None:
    lowered = {name.lower(): value for name, value in headers.items()}
    problems = []
    for secret in auth.secrets:
        try:
            Webhook(secret.get_secret_value()).verify(body, lowered, json_parse=False)
        except WebhookVerificationError as error:
            problems.append(str(error))
        except ValueError:
            problems.append("the webhook-signature, or what it signs, cannot be read")
        else:
            return
    raise NotAuthentic(problems[-1])
