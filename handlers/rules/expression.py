"""A CEL expression: compiled once, every name in it checked, and given no more than what it names.

Absent is null and never an error: every path that the expression names is there, and holds null where there is nothing (but
``has(path)`` is false). An expression that then cannot be decided (null where true or false is needed) is simply not true.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from consumer.model.stops import RuleError

NOT_CODE = re.compile(
    r"""(?<!\w)(?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"]*"|'[^']*')"""
    r"""|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|//[^\n]*""",
    re.DOTALL,
)
"""Strings and comments, in the forms of the CEL specification."""
MACRO_VARIABLE = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
PARSE_ERROR = re.compile(r"<input>:(\d+):(\d+): (.*)")

Path = tuple[str, ...]
Known = Mapping[str, Collection[str] | None]
"""The roots an expression may name, with the fields of each; None where any may be there."""


@dataclass(slots=True)
class Named:
    """A name on the way of a path: whether its own value is asked for, and what is asked for below it."""

    valued: bool = False
    below: dict[str, "Named"] = field(default_factory=dict)


class Expression:
    """A compiled expression. ``paths`` are all that it names, ``code`` the text with blanks for strings and comments."""

    def __init__(self, text: str, known: Known, *, rule: str, numbers_as_floats: bool = False) -> None:
        """Compile.

        Args:
            text: the expression.
            known: the names there are.
            rule: shown in refusals.
            numbers_as_floats: write every whole number as a float, for expressions over floats: CEL converts nothing.

        Raises:
            RuleError: it does not parse, or names something that is not there; the message says in which line and column.

        """
        self.text = text
        self._rule = rule
        self._known = known
        self.code = NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        self._program = self._compiled(text)
        self.names = {root: Named(valued=True) for root in known}
        self._read_paths()
        self._check_names()
        if numbers_as_floats:
            self._program = self._compiled(_with_floats(text, self.code))

    @property
    def functions(self) -> frozenset[str]:
        """The functions that it calls, operators included."""
        return frozenset(self._program.functions())

    def execute(self, context: Any) -> Any:
        """Give its value; raises whatever the evaluation raises."""
        return self._program.execute(context)

    def refused(self, offset: int, what: str, name: str, known: Iterable[str]) -> RuleError:
        """Say what is wrong at ``offset`` of the text, and which of the known names was probably meant."""
        line = self.text.count("\n", 0, offset) + 1
        column = offset - (self.text.rfind("\n", 0, offset) + 1) + 1
        near = get_close_matches(name, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        return RuleError(f"rule {self._rule}: line {line}, column {column}: {what}; {remedy}")

    def found_paths(self) -> Iterator[tuple[int, Path]]:
        """Every path where it is written, with its offset."""
        for match in self._path_pattern().finditer(self.code):
            yield match.start(2), (match[2], *re.split(r"\s*\.\s*", match[3].strip())[1:])

    def _path_pattern(self) -> re.Pattern[str]:
        roots = "|".join(self._known)
        return re.compile(rf"(has\s*\(\s*)?(?<![\w.])({roots})((?:\s*\.\s*[A-Za-z_]\w*\b)+)(?!\s*\()")

    def _compiled(self, text: str) -> Any:
        import cel  # noqa: PLC0415 -- it brings a command line of its own along, which takes a quarter of a second

        try:
            return cel.compile(text)
        except ValueError as error:
            found = PARSE_ERROR.search(str(error))
            where = f"line {found[1]}, column {found[2]}: {found[3]}" if found else str(error)
            raise RuleError(f"rule {self._rule}: the expression does not parse: {where}") from error

    def _read_paths(self) -> None:
        asked: dict[Path, bool] = {}
        for match in self._path_pattern().finditer(self.code):
            path = (match[2], *re.split(r"\s*\.\s*", match[3].strip())[1:])
            fields = self._known[path[0]]
            if fields is not None and path[1] not in fields:
                raise self.refused(match.start(2), f"{path[0]} has no field {path[1]!r}", path[1], fields)
            asked[path] = asked.get(path, False) or match[1] is None
        self.paths = tuple(sorted(asked))
        self.valued_paths = tuple(path for path in self.paths if asked[path])
        for path in self.paths:
            named = self.names[path[0]]
            for name in path[1:]:
                named = named.below.setdefault(name, Named())
            named.valued = named.valued or asked[path]

    def _check_names(self) -> None:
        for name in sorted(set(self._program.variables()) - set(self._known) - set(MACRO_VARIABLE.findall(self.code))):
            found = re.search(rf"(?<![\w.]){name}\b", self.code)
            raise self.refused(found.start() if found else 0, f"{name!r} is unknown", name, self._known)


def given(value: Any, named: Named, absent: list[bool]) -> Any:
    """Give what is asked for of a value, and nothing else of it; what is asked for and null notes itself in ``absent``."""
    if not named.below:
        return dict(value) if isinstance(value, Mapping) else value
    if value is None and not named.valued:
        value = {}
    if not isinstance(value, Mapping):
        absent.append(True)
        return value
    told: dict[str, Any] = dict(value) if named.valued else {}
    for name, inner in named.below.items():
        content = value.get(name)
        if inner.below:
            told[name] = given(content, inner, absent)
            continue
        if content is None:
            absent.append(True)
        if inner.valued or name in value:
            told[name] = content
    return told


def reached(value: Any, path: Path) -> Any:
    """Follow a path through mappings; None where it leads nowhere."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _with_floats(text: str, code: str) -> str:
    """Write whole numbers as floats, but for indexes."""
    parts, last = [], 0
    for match in re.finditer(r"(?<![\w.\[])\d+(?![\w.])", code):
        parts.append(text[last : match.end()] + ".0")
        last = match.end()
    return "".join((*parts, text[last:]))


def context_with(variables: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """Give what an expression is evaluated over where it calls functions of ours."""
    import cel  # noqa: PLC0415 -- as above

    return cel.Context(dict(variables), dict(functions))
