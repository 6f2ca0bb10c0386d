"""How a webhook proves where it comes from: the headers for one attempt to deliver it."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class NoAuth:
    """Nothing is proven."""


@dataclass(frozen=True, slots=True, repr=False)
class HeaderSecret:
    """A static header, the only means Ringg documents."""

    secret: str
    name: str = "X-Webhook-Secret"


@dataclass(frozen=True, slots=True, repr=False)
class Bearer:
    secret: str


@dataclass(frozen=True, slots=True, repr=False)
class Hmac:
    """HMAC-SHA256 of the body alone, as Bland signs (docs.bland.ai, webhook-signing)."""

    secret: str
    header: str = "X-Webhook-Signature"
    encoding: Literal["hex", "base64"] = "hex"


@dataclass(frozen=True, slots=True, repr=False)
class StandardWebhooks:
    """Standard Webhooks 1.0.0, v1: a retry keeps the id, the timestamp is the attempt's. Secret: `whsec_` + base64."""

    secret: str


WebhookAuth = NoAuth | HeaderSecret | Bearer | Hmac | StandardWebhooks


def proof(auth: WebhookAuth, body: bytes, webhook_id: str, now: float) -> dict[str, str]:
    """Give the headers that prove this body; `now` in seconds since the epoch."""
    match auth:
        case NoAuth():
            return {}
        case HeaderSecret(secret, name):
            return {name: secret}
        case Bearer(secret):
            return {"Authorization": f"Bearer {secret}"}
        case Hmac(secret, header, encoding):
            digest = hmac.digest(secret.encode(), body, hashlib.sha256)
            return {header: digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()}
        case StandardWebhooks(secret):
            sent_at = str(int(now))
            signed = b".".join((webhook_id.encode(), sent_at.encode(), body))
            digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
            signature = f"v1,{base64.b64encode(digest).decode()}"
            return {"webhook-id": webhook_id, "webhook-timestamp": sent_at, "webhook-signature": signature}
