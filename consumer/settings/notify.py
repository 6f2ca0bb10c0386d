"""Who is told when something is loud."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, SecretStr

from consumer.model.accounts import BearerAuth, HeaderAuth, Section, is_loopback
from consumer.model.durations import PositiveDuration
from consumer.model.refusals import RefusedError


def _address(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or re.search(r"\s", text):
        raise RefusedError("this is not a web address", "write https://host/path")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("this address carries a user or a password", "write them as `auth`")
    if parts.scheme == "http" and not is_loopback(host):
        raise RefusedError("what is told would cross the network unencrypted", "use https (http is for loopback only)")
    return url


def masked_address(url: SecretStr) -> str:
    """Show where an address leads and not its path, in which chat services have their secret."""
    parts = urlsplit(url.get_secret_value())
    return f"{parts.scheme}://{parts.netloc}/••••"


NotifyUrl = Annotated[SecretStr, AfterValidator(_address), PlainSerializer(masked_address, when_used="json")]


class NotifySettings(Section):
    """Where notices are posted as JSON; ``within`` is in seconds: what could not be delivered by then is given up."""

    url: NotifyUrl | None = None
    auth: Annotated[HeaderAuth | BearerAuth, Field(discriminator="type")] | None = None
    within: PositiveDuration = 600.0
