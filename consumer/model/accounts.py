"""An account: one API key at one provider, with its own webhook secret and its own rate limit.

Values here are read from the configuration and handed to the roles as they are. Secrets are ``SecretStr``: they print
and serialise as a mask.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from consumer.model.durations import Duration, PositiveDuration, format_duration, parse_duration
from consumer.model.refusals import RefusedError, refuse_all

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
SHORTEST_SECRET = 8
PUBLIC_KEY_PREFIX = "whpk_"
PUBLIC_KEY_BYTES = 32
LARGEST_BATCH = 100
"""What Ringg and Revenueable take in one request: docs.ringg.ai, terminate, "up to 100 calls in a single request"."""

Text = Annotated[str, Field(min_length=1)]
_FINGERPRINT_FROM = 16  # a fingerprint of a shorter secret would help to guess it
_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"  # RFC 9110, 5.6.2: token


class Section(BaseModel):
    """A mapping of the configuration: frozen, without unknown keys; a key that is null is a key that is not there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @classmethod
    def written_keys(cls) -> dict[str, Any]:
        """Name the keys that the configuration may write here, with what their values may be."""
        written = [(name, field) for name, field in cls.model_fields.items() if not field.exclude]
        aliases = [(field.validation_alias, name, field) for name, field in written]
        return {
            str(key): field.annotation
            for alias, name, field in aliases
            for key in (alias.choices if isinstance(alias, AliasChoices) else (name,))
        }

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.written_keys()
        return {key: value for key, value in data.items() if value is not None or key not in known}


def mask_secret(secret: SecretStr) -> str:
    """``•••• (sha256:ab12cd)``: enough to tell two secrets apart; a short one shows nothing at all."""
    value = secret.get_secret_value()
    if len(value) < _FINGERPRINT_FROM:
        return "••••"
    return f"•••• (sha256:{hashlib.sha256(value.encode()).hexdigest()[:6]})"


def _usable(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value:
        raise RefusedError("this secret is empty", "set it; without a secret nothing would be let in, or everything")
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise RefusedError(
            "this secret has a line break, a blank at an end or a character outside ASCII, and could never match",
            "set it without (a file that was read into the variable often ends in a line break)",
        )
    return secret


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise RefusedError(f"this secret is shorter than {SHORTEST_SECRET} characters", "use a long random one")
    return secret


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str | SecretStr) else value


_Mask = PlainSerializer(mask_secret, when_used="json")

Secret = Annotated[SecretStr, AfterValidator(_usable), _Mask]
"""A secret that we send: not empty, printable ASCII."""

OwnSecret = Annotated[SecretStr, AfterValidator(_usable), AfterValidator(_long_enough), _Mask]
"""A secret that others must show us: also at least eight characters."""

Secrets = Annotated[
    tuple[OwnSecret, ...],
    BeforeValidator(_as_list),
    Field(min_length=1, validation_alias=AliasChoices("secrets", "secret")),
]
"""One or several, while they are rotated; written as ``secret: …`` or ``secrets: […]``."""


class HeaderAuth(Section):
    """The sender repeats a static header, compared with each secret."""

    type: Literal["header"] = "header"
    name: str = Field(pattern=_HEADER_NAME)
    secrets: Secrets


class BearerAuth(Section):
    """The sender repeats ``Authorization: Bearer SECRET``."""

    type: Literal["bearer"] = "bearer"
    secrets: Secrets


class HmacAuth(Section):
    """The sender signs the raw body with HMAC-SHA256 and puts ``prefix`` + signature into ``header``."""

    type: Literal["hmac-sha256"] = "hmac-sha256"
    header: str = Field(pattern=_HEADER_NAME)
    encoding: Literal["hex", "base64"] = "hex"
    secrets: Secrets
    prefix: str = ""


class StandardWebhooksAuth(Section):
    """The sender signs id, timestamp and body as Standard Webhooks 1.0.0 says.

    A secret is ``whsec_`` + base64 where it signs with HMAC; where it signs with ed25519, its public key, ``whpk_`` + base64.
    """

    type: Literal["standard-webhooks"] = "standard-webhooks"
    secrets: Secrets

    @field_validator("secrets")
    @classmethod
    def _base64(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            value = secret.get_secret_value()
            public = value.startswith(PUBLIC_KEY_PREFIX)
            try:
                key = base64.b64decode(value.removeprefix(PUBLIC_KEY_PREFIX if public else "whsec_"), validate=True)
            except binascii.Error:
                key = b""
            if public and len(key) != PUBLIC_KEY_BYTES:
                raise RefusedError(
                    f"a public key of Standard Webhooks is base64 of {PUBLIC_KEY_BYTES} bytes, and this is not",
                    "copy it whole: whpk_…",
                )
            if len(key) < SHORTEST_SECRET:
                raise RefusedError(
                    f"a secret of Standard Webhooks is base64 of {SHORTEST_SECRET} bytes or more, and this is not",
                    "copy it whole: whsec_…",
                )
        return secrets


class NoAuth(Section):
    """Anybody can post events of this account. ``acknowledged`` says so a second time, for a reachable address."""

    type: Literal["none"] = "none"
    acknowledged: bool = False


def none_as_mapping(value: Any) -> Any:
    """Take ``auth: none`` for short."""
    return {"type": "none"} if value == "none" else value


WebhookAuth = Annotated[
    HeaderAuth | BearerAuth | HmacAuth | StandardWebhooksAuth | NoAuth,
    Field(discriminator="type"),
]

EventField = Literal["campaign_id", "agent_id", "number", "from_number", "attempt", "status", "at", "event_id"]
BodyPath = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")]


class WebhookSettings(Section):
    """How webhooks are authenticated and read; ``fields`` says at which dotted path of the body a field is."""

    auth: Annotated[WebhookAuth, BeforeValidator(none_as_mapping)]
    fields: dict[EventField, BodyPath] = {}
    format: Literal["provider", "cloudevents"] = "provider"


class RateLimit(Section):
    """A token bucket for the requests to the provider, and how many of them may wait for their answer at once."""

    requests_per_second: float = Field(default=5.0, gt=0)
    burst: int = Field(default=5, ge=1)
    concurrency: int = Field(default=16, ge=1, le=64)


class Batch(Section):
    """How many calls go into one request, and how long the first waits for others (an operator's order never does)."""

    size: int = Field(default=LARGEST_BATCH, ge=1)
    linger: Duration = 0.05

    @field_validator("size")
    @classmethod
    def _what_the_provider_takes(cls, size: int) -> int:
        if size > LARGEST_BATCH:
            raise RefusedError(
                f"the provider takes at most {LARGEST_BATCH} calls in a request and refuses the whole of a larger one",
                f"write a size from 1 to {LARGEST_BATCH}",
            )
        return size


def _every(value: Any) -> float | None:
    if value == "off" or value is False:
        return None
    if not isinstance(value, str) or (seconds := parse_duration(value)) <= 0:
        raise RefusedError("this is neither a duration nor off", "write a duration such as 60s, or off")
    return seconds


def _every_as_text(every: float | None) -> str:
    return "off" if every is None else format_duration(every)


class Reconcile(Section):
    """How often the provider's call history is read for what webhooks missed, in seconds; ``None`` is off."""

    every: Annotated[float | None, BeforeValidator(_every), PlainSerializer(_every_as_text, when_used="json")] = 60.0

    @model_validator(mode="before")
    @classmethod
    def _off(cls, data: Any) -> Any:
        return {"every": "off"} if data == "off" or data is False else data


def is_loopback(host: str) -> bool:
    """Whether ``host`` is a loopback address or ``localhost``; any other name counts as reachable from elsewhere."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _provider_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or re.search(r"\s", url):
        raise RefusedError("this is not a web address", "write https://host/path")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("this address carries a user or a password", "leave them out; api_key is what authenticates")
    if parts.query or parts.fragment or url.endswith(("/", "?", "#")):
        raise RefusedError(
            "this address has a query, a fragment or a slash at its end", "end it with the last path segment"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise RefusedError("the API key would cross the network unencrypted", "use https (http is for loopback only)")
    return url


class Account(Section):
    """One API key at one provider. Durations are seconds; ``base_url`` ``None`` means the provider's own."""

    name: str = Field(pattern=NAME_PATTERN, exclude=True)  # the key of its mapping in the configuration
    provider: Text
    api_key: Secret
    base_url: Annotated[str, AfterValidator(_provider_url)] | None = None
    account_group_id: Text | None = None
    webhook: WebhookSettings
    rate_limit: RateLimit = RateLimit()
    batch: Batch = Batch()
    confirm_within: PositiveDuration = 120.0
    decision_ttl: PositiveDuration = 900.0
    reconcile: Reconcile = Reconcile()

    @field_validator("provider")
    @classmethod
    def _known(cls, provider: str, info: ValidationInfo) -> str:
        """Refuse a provider that is not among ``known_providers`` of the validation's context, if it has them."""
        known = (info.context or {}).get("known_providers")
        if known is not None and provider not in known:
            raise RefusedError("there is no such provider", f"write one of: {', '.join(sorted(known))}")
        return provider

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_all(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[RefusedError]:
        if self.provider == "sonarly" and self.account_group_id is None:
            yield RefusedError(
                "sonarly needs the account group whose campaigns are stopped",
                "add the id that GET /v1/accounts lists",
                "account_group_id",
            )
        if self.provider != "sonarly" and self.account_group_id is not None:
            yield RefusedError(
                "only sonarly has account groups", "remove it, or correct the provider", "account_group_id"
            )
