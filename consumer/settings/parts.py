"""The sections of the configuration that may change while the service runs, as they travel in a record.

They travel as the file says them, with ``${NAME}`` in place of what the environment holds: whoever takes them over fills
that in from its own environment, and no secret lies in the log.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import model_validator

from consumer.model.accounts import Section
from consumer.model.identity import digest
from consumer.model.refusals import refuse_all
from consumer.settings.checks import checked
from consumer.settings.file import Place, parse_filled, read_unfilled
from consumer.settings.overrides import override
from consumer.settings.problems import ConfigurationError, KeyPath, Problem, path_text
from consumer.settings.rules import SECRET_WORDS, LimitsSettings, ProtectedSettings, RuleSettings
from consumer.settings.settings import repeated_names

PARTS = ("rules", "limits", "protected")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


class Parts(Section):
    """What may change while the service runs."""

    rules: tuple[RuleSettings, ...] = ()
    limits: LimitsSettings = LimitsSettings()
    protected: ProtectedSettings = ProtectedSettings()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        refuse_all(repeated_names(self.rules))
        return self


def hash_of(parts: Mapping[str, Any]) -> str:
    """Tell two sets of parts apart by what they say; order of keys and layout do not count."""
    return digest((orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode(),), 16)


def written_in(file: Path) -> dict[str, Any]:
    """Read the parts of a configuration file as they stand there.

    Raises:
        ConfigurationError: it is no YAML, or a secret is written out in it, which may not travel.

    """
    tree = read_unfilled(file)
    parts = {name: tree[name] for name in PARTS if tree.get(name) is not None}
    problems = tuple(
        Problem(
            str(file),
            None,
            path_text(path),
            "a secret that is written out would lie in Kafka for whoever may read there",
            "write ${NAME} and set NAME where every process of the service runs",
        )
        for path in _written_out(parts, ())
    )
    if problems:
        raise ConfigurationError(problems)
    return parts


def filled(parts: Mapping[str, Any], environ: Mapping[str, str]) -> Parts:
    """Check parts that have travelled, with the variables and overrides of this process.

    Raises:
        ConfigurationError: what is wrong with them here, such as a variable that is not set.

    """
    document = parse_filled(orjson.dumps(dict(parts)).decode(), Place("stop-orders, rules"), environ)
    return checked(override(document, Parts, environ, ignore_unknown=True), Parts, {})


def _written_out(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Where a key that sounds like a secret's has anything but a reference."""
    if isinstance(value, dict):
        for key, below in value.items():
            secret = any(word in key.lower() for word in SECRET_WORDS)
            told = below if isinstance(below, list) else [below]
            if secret and all(isinstance(one, str) for one in told):
                if not all(_REFERENCE.fullmatch(one) for one in told):
                    yield (*path, key)
            else:
                yield from _written_out(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _written_out(below, (*path, index))
