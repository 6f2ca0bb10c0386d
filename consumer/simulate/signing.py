"""How a webhook proves where it comes from: the headers for one attempt to deliver it."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class NoAuth:
    def headers(self, body: bytes, webhook_id: str, now: float) -> dict[str, str]:  # noqa: ARG002 - the protocol
        return {}


@dataclass(frozen=True, slots=True)
class HeaderSecret:
    """A static header, the only means Ringg documents."""

    secret: str
    name: str = "X-Webhook-Secret"

    def headers(self, body: bytes, webhook_id: str, now: float) -> dict[str, str]:  # noqa: ARG002 - the protocol
        return {self.name: self.secret}


@dataclass(frozen=True, slots=True)
class Bearer:
    secret: str

    def headers(self, body: bytes, webhook_id: str, now: float) -> dict[str, str]:  # noqa: ARG002 - the protocol
        return {"Authorization": f"Bearer {self.secret}"}


@dataclass(frozen=True, slots=True)
class Hmac:
    """HMAC-SHA256 of the body alone, as Bland signs (docs.bland.ai, webhook-signing)."""

    secret: str
    header: str = "X-Webhook-Signature"
    encoding: Literal["hex", "base64"] = "hex"

    def headers(self, body: bytes, webhook_id: str, now: float) -> dict[str, str]:  # noqa: ARG002 - the protocol
        digest = hmac.digest(self.secret.encode(), body, hashlib.sha256)
        return {self.header: digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()}


@dataclass(frozen=True, slots=True)
class StandardWebhooks:
    """Standard Webhooks 1.0.0, v1: a retry keeps the id, the timestamp is the attempt's. Secret: `whsec_` + base64."""

    secret: str

    def headers(self, body: bytes, webhook_id: str, now: float) -> dict[str, str]:
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = b".".join((webhook_id.encode(), str(int(now)).encode(), body))
        signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return {"webhook-id": webhook_id, "webhook-timestamp": str(int(now)), "webhook-signature": f"v1,{signature}"}


WebhookAuth = NoAuth | HeaderSecret | Bearer | Hmac | StandardWebhooks
