"""What a value of the configuration or of a command line is refused with."""

from collections.abc import Iterable


class RefusedError(ValueError):
    """A value that cannot stand.

    ``reason`` says what is wrong with it and ``remedy`` what to write instead; neither repeats the value, which may be
    a secret in the wrong place. ``at`` is the path of the key it is about, below the value that was checked.
    """

    def __init__(self, reason: str, remedy: str, *at: str | int) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy
        self.at = at


class RefusalsError(ValueError):
    """Several refusals of one value, so that they can be reported together."""

    def __init__(self, refusals: tuple[RefusedError, ...]) -> None:
        super().__init__("; ".join(map(str, refusals)))
        self.refusals = refusals


def refuse_all(refusals: Iterable[RefusedError]) -> None:
    """Raise ``RefusalsError`` when there is any refusal."""
    if found := tuple(refusals):
        raise RefusalsError(found)
