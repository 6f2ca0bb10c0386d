"""What may be shown of a text that others wrote: no whole phone number, no credential, none of our secrets."""

import re
from collections.abc import Iterable

from consumer.model.identity import mask_number

_SHORTEST_SECRET = 6
_NUMBER = re.compile(r"\+\d(?:[ ().-]?\d){6,14}|(?<![\w.@/-])[1-9]\d{9,14}(?![\w@/-])")
_CREDENTIAL = re.compile(
    r"(?i)(\bbearer\s+|\bbasic\s+|\bwhsec_|\b[\w-]*(?:secret|token|password|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)([^\s\"',;&}]+)"
)


class Mask:
    """Takes out what must not be read: phone numbers but for four digits, credentials, and known secrets."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def never_show(self, secrets: Iterable[str]) -> None:
        """Know these values as secrets, whatever they look like."""
        known = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        self._secrets = tuple(sorted({*self._secrets, *known}, key=len, reverse=True))

    def text(self, text: str) -> str:
        """Mask a text; one that has been masked stays as it is."""
        for secret in self._secrets:
            text = text.replace(secret, "••••")
        text = _CREDENTIAL.sub(r"\1••••", text)
        return _NUMBER.sub(lambda number: mask_number(number[0]), text)


MASK = Mask()
"""Of this process: it knows the secrets of the configuration that the process was started with."""
