"""A configuration file as a tree of JSON values that remembers where each of them was written.

Of YAML only what JSON has is more than text: no, off, 010, 1:30, +14155550100 and dates stay the text they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from consumer.settings.problems import ConfigurationError, KeyPath, Problem, path_text

PREFIX = "CALLBREAKER__"
"""What the variables begin with that say single keys over those of the file (``overrides.py``)."""
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Braces end a plain scalar in {flow: style}, so a reference passes through YAML as private-use characters
_OPEN, _CLOSE, _ESCAPED = "\ue000", "\ue001", "\ue002"
_PROTECTED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or the variable of an override, and the line in it."""

    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """``tree`` holds the values, ``places`` where they were written. ``unset`` are those whose variable is missing."""

    root: Place = Place("environment")
    tree: Any = field(default_factory=dict)
    places: Mapping[KeyPath, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    unset: Mapping[KeyPath, Problem] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place:
        """Where ``path`` was written, or else what encloses it."""
        enclosing = (path[:length] for length in range(len(path), 0, -1))
        return next((self.places[part] for part in enclosing if part in self.places), self.root)

    def problem(self, path: KeyPath, reason: str, remedy: str) -> Problem:
        place = self.place(path)
        return Problem(place.file, place.line, path_text(path), reason, remedy)


def read_document(path: Path, environ: Mapping[str, str] | None, only: str | None = None) -> Document:
    """Read ``path`` and fill its ``${NAME}`` from ``environ``, if given; of a mapping only the key ``only``, if given.

    Raises ``ConfigurationError`` when there is nothing that could be checked further.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}", "name an existing, readable file") from None
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8", "save it as UTF-8") from None
    document = parse(_protect(text), Place(str(path)), environ=environ, only=only)
    if not isinstance(document.tree, dict):
        raise _unreadable(path, "is not a mapping of keys to values", "start from callbreaker.example.yaml")
    if only is not None and only not in document.tree:
        raise _unreadable(path, f"has no `{only}`", f"add `{only}:`, or name another file")
    return document


def read_unfilled(path: Path) -> dict[str, Any]:
    """Read ``path`` as it stands, each ``${NAME}`` unfilled; raises ``ConfigurationError`` where it is no mapping."""
    tree: dict[str, Any] = _unprotected(read_document(path, None).tree)
    return tree


def parse_filled(text: str, root: Place, environ: Mapping[str, str]) -> Document:
    """Parse text that may hold ``${NAME}``, filled from ``environ``; raises ``ConfigurationError`` for a syntax error."""
    return parse(_protect(text), root, environ=environ)


def _unprotected(value: Any) -> Any:
    """Write references as they stood in the file."""
    if isinstance(value, dict):
        return {key: _unprotected(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_unprotected(below) for below in value]
    return _PROTECTED.sub(r"${\1}", value).replace(_ESCAPED, "$${") if isinstance(value, str) else value


def _unreadable(path: Path, reason: str, remedy: str) -> ConfigurationError:
    return ConfigurationError((Problem(str(path), None, "", reason, remedy),))


def parse(text: str, root: Place, *, environ: Mapping[str, str] | None, only: str | None = None) -> Document:
    """Turn YAML into a document; an empty text is an empty mapping, and without ``environ`` there are no variables.

    Raises ``ConfigurationError`` for a syntax error.
    """
    try:
        node = yaml.compose(text, _Loader)
        builder = _Builder(root, environ, only)
        tree = {} if node is None else builder.value(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        reason = f"is not YAML: {_without_values(error.problem or 'cannot be read')}"
        raise ConfigurationError(
            (Problem(root.file, line, "", reason, "correct it, or put the value in quotes"),)
        ) from None
    except (yaml.YAMLError, RecursionError):
        problem = Problem(root.file, None, "", "holds control characters or is nested too deeply", "write plain YAML")
        raise ConfigurationError((problem,)) from None
    return Document(root, {} if tree is None else tree, builder.places, tuple(builder.problems), builder.unset)


def _without_values(problem: str) -> str:
    """Take out what PyYAML quotes of the text, which may be a secret; single characters and kinds of token stay."""
    return _QUOTED.sub(lambda match: match[0] if len(match[1]) == 1 or match[1].startswith("<") else "'…'", problem)


def scalar(text: str) -> str | float | bool | None:
    """Read an unquoted value: null, true, false or a number as JSON has them, else the text itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    number = _NUMBER.fullmatch(text)
    if number is None or len(text) > 40:
        return text
    return float(text) if number[2] or number[3] else int(text)


def _protect(text: str) -> str:
    text = re.sub(f"[{_OPEN}{_CLOSE}{_ESCAPED}]", "\ufffd", text)
    return _REFERENCE.sub(lambda match: f"{_OPEN}{match[1]}{_CLOSE}" if match[1] else _ESCAPED, text)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own form; scalar() resolves


class _Builder:
    """Builds the values of a YAML tree, and notes where each was written and what is wrong with it."""

    def __init__(self, root: Place, environ: Mapping[str, str] | None, only: str | None) -> None:
        self.root = root
        self.environ = environ
        self.only = only
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self.unset: dict[KeyPath, Problem] = {}
        self._enclosing: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.places.setdefault(path, self._place(node))
        if node.tag not in _PLAIN_TAGS:
            self._refuse(node, path, "YAML tags are not read", "remove the `!`, or put the value in quotes")
            return None
        if any(node is enclosing for enclosing in self._enclosing):
            self._refuse(node, path, "this alias holds itself", "write the values out")
            return None
        self._enclosing.append(node)
        try:
            return self._content(node, path)
        finally:
            self._enclosing.pop()

    def _content(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.style is None and not _PROTECTED.search(node.value):
            value = scalar(node.value)
            return self._filled(node, value, path) if isinstance(value, str) else value
        return self._filled(node, node.value, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _plain(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "[…]"
            here = (*path, key)
            if self.only is not None and not path and key != self.only:
                continue
            if key in tree:
                first = self.places[here].line
                self._refuse(key_node, here, f"this key is already on line {first}", "keep one of them")
                continue
            self.places[here] = self._place(key_node)
            tree[key] = self.value(value_node, here)
        return tree

    def _filled(self, node: yaml.Node, text: str, path: KeyPath) -> str:
        environ = self.environ
        if environ is None:
            return text
        if "${" in text:
            self._refuse(
                node,
                path,
                "`${` does not start the name of a variable here",
                "write ${NAME} with letters, digits and _, or $${ for the characters themselves",
            )
        missing = [name for name in _PROTECTED.findall(text) if name not in environ]
        if missing:
            place = self._place(node)
            names = ", ".join(dict.fromkeys(missing))
            self.unset[path] = Problem(
                place.file,
                place.line,
                path_text(path),
                f"the environment variable {names} is not set",
                f"set {names}, or write the value another way",
            )
        return _PROTECTED.sub(lambda match: environ.get(match[1], ""), text).replace(_ESCAPED, "${")

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.root.file, node.start_mark.line + 1)

    def _refuse(self, node: yaml.Node, path: KeyPath, reason: str, remedy: str) -> None:
        place = self._place(node)
        self.problems.append(Problem(place.file, place.line, path_text(path), reason, remedy))


def _plain(key: str) -> str:
    return _PROTECTED.sub(r"${\1}", key).replace(_ESCAPED, "${")
