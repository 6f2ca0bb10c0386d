"""What is wrong with a configuration: where, why, and what to do; never with the value itself, which may be a secret.

ConfigurationError(ValueError)     everything that is wrong, as ``problems``
"""

from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Where a value stands in the configuration: ``("rules", 0, "when")``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. For what an override says, ``file`` is its variable; lines count from 1."""

    file: str
    line: int | None
    path: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{': '.join(filter(None, (where, self.path)))}\n  {self.reason}\n  → {self.remedy}"


class ConfigurationError(ValueError):
    """A configuration that cannot be used; ``str`` of it shows every problem, a block each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n\n".join(map(str, problems)))
        self.problems = problems


def path_text(path: KeyPath) -> str:
    """``("rules", 0, "when")`` as ``rules[0].when``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
