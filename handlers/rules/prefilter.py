"""A quick look at an event before an expression is evaluated over it.

Of an expression ``a && b && …`` each part that is plain enough says what an event must hold for the whole to be true. Where
an event does not hold it, the expression is not true, and raises nothing: ``false && error`` is false in CEL, and a null
that makes an expression undecidable makes it untrue. So the answers are the same with and without this look.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.status import EventType
from handlers.rules.exact_look import decided
from handlers.rules.expression import NOT_CODE

Check = Callable[[CallEvent], bool]

PATH = r"event((?:\s*\.\s*[A-Za-z_]\w*)+)"
TEXT = r"""("[^"\\]*"|'[^'\\]*')"""
EQUALS = re.compile(rf"{PATH}\s*==\s*{TEXT}")
EQUALS_TURNED = re.compile(rf"{TEXT}\s*==\s*{PATH}")
ONE_OF = re.compile(rf"{PATH}\s+in\s+\[((?:\s*{TEXT}\s*,?)+)\]")
TRUE = re.compile(PATH)
HAS = re.compile(rf"has\s*\(\s*{PATH}\s*\)")
NOT_NULL = re.compile(rf"{PATH}\s*(?:!=\s*null|==\s*(?:true|-?\d+(?:\.\d+)?))")
COMPARED = re.compile(rf"{PATH}\s*(?:<=?|>=?)[^=].*", re.DOTALL)
ASKED = re.compile(rf"{PATH}\s*\.\s*(?:contains|startsWith|endsWith|matches)\s*\([^()]*\)", re.DOTALL)
TEXT_FIELDS = frozenset(
    {"type", "status", "account", "provider", "call_id", "campaign_id", "agent_id", "number", "from_number"}
)
PLAIN = frozenset({*TEXT_FIELDS, "attempt", "duration_seconds", "cost", "analysis", "args", "raw"})
"""Fields whose value is the event's own; ``at`` is not."""


def conjuncts(code: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut an expression (its strings made unreadable) into the parts all of which must be true: their places.

    There are none where one part of several is enough.
    """
    start, end = _bare(code, start, len(code) if end is None else end)
    cuts, depth = [start], 0
    for n in range(start, end):
        if code[n] in "([{":
            depth += 1
        elif code[n] in ")]}":
            depth -= 1
        elif not depth and (code[n] == "?" or code.startswith("||", n)):
            return
        elif not depth and code.startswith("&&", n):
            cuts += [n, n + 2]
    cuts.append(end)
    if len(cuts) == 2:
        yield start, end
        return
    for first, last in zip(cuts[::2], cuts[1::2], strict=True):
        yield from conjuncts(code, first, last)


class Look(NamedTuple):
    """What an event must be for an expression to be true: of these types, in one of these statuses, and what it must hold."""

    types: frozenset[EventType]
    statuses: frozenset[str] | None
    holds: Check | None


def quick_look(text: str) -> Look:
    """Give what an event must be for an expression to be true; None where it may be anything."""
    code = _made_unreadable(text)
    types = frozenset(EventType)
    statuses: frozenset[str] | None = None
    checks: list[Check] = []
    for start, end in conjuncts(code):
        part = text[start:end]
        if "//" in part:  # a comment, or a text that looks like one
            continue
        texts = _texts(part)
        if texts is not None and texts[0] == ("type",):
            types &= {kind for kind in EventType if kind in texts[1]}
        elif texts is not None and texts[0] == ("status",):
            statuses = texts[1] if statuses is None else statuses & texts[1]
        elif texts is not None and len(texts[0]) == 1 and texts[0][0] in TEXT_FIELDS:
            checks.append(_is_one_of(texts[0][0], texts[1]))
        elif (exact := decided(part)) and exact.root == "event":
            checks.append(exact.check)
        elif found := _needed(part):
            checks.append(found)
    return Look(types, statuses, _all(checks))


def look_at_call(text: str) -> Callable[[Call], bool] | None:
    """Give what a call must hold for an expression to be true, if anything."""
    code = _made_unreadable(text)
    parts = [text[start:end] for start, end in conjuncts(code)]
    found = [exact for part in parts if "//" not in part and (exact := decided(part))]
    return _all([exact.check for exact in found if exact.root == "call"])


def _made_unreadable(text: str) -> str:
    """Put something else in place of strings, and blanks in place of comments."""
    return NOT_CODE.sub(lambda match: (" " if match[0].startswith("//") else "_") * len(match[0]), text)


def _texts(part: str) -> tuple[tuple[str, ...], frozenset[str]] | None:
    """Read ``path == "text"``, either way round, and ``path in ["text", …]``."""
    if match := EQUALS.fullmatch(part):
        return _path(match[1]), frozenset({match[2][1:-1]})
    if match := EQUALS_TURNED.fullmatch(part):
        return _path(match[2]), frozenset({match[1][1:-1]})
    if match := ONE_OF.fullmatch(part):
        return _path(match[1]), frozenset(text[1:-1] for text in re.findall(TEXT, match[2]))
    return None


def _needed(part: str) -> Check | None:
    """Read what needs a value to be true: the value itself, a comparison with it, a question to it."""
    if match := TRUE.fullmatch(part):
        return _not_false(_getter(_path(match[1])))
    if match := HAS.fullmatch(part):
        *above, last = _path(match[1])
        return _has(_getter(tuple(above)) if above else None, last)
    texts = _texts(part)
    match = NOT_NULL.fullmatch(part) or COMPARED.fullmatch(part) or ASKED.fullmatch(part)
    path = texts[0] if texts else _path(match[1]) if match else None
    return _not_null(_getter(path) if path else None)


def _getter(path: tuple[str, ...]) -> Callable[[CallEvent], Any] | None:
    if path[0] not in PLAIN:
        return None
    field = attrgetter(path[0])
    if len(path) == 1:
        return field
    if len(path) == 2:
        name = path[1]
        return lambda event: value.get(name) if isinstance(value := field(event), Mapping) else None

    def follow(event: CallEvent) -> Any:
        value = field(event)
        for name in path[1:]:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return follow


def _not_false(get: Callable[[CallEvent], Any] | None) -> Check | None:
    return (lambda event: (value := get(event)) is not None and value is not False) if get else None


def _not_null(get: Callable[[CallEvent], Any] | None) -> Check | None:
    return (lambda event: get(event) is not None) if get else None


def _has(get: Callable[[CallEvent], Any] | None, name: str) -> Check | None:
    return (lambda event: isinstance(value := get(event), Mapping) and name in value) if get else None


def _is_one_of(name: str, texts: frozenset[str]) -> Check:
    field = attrgetter(name)
    return lambda event: field(event) in texts


def _all(checks: list[Callable[[Any], bool]]) -> Callable[[Any], bool] | None:
    if len(checks) < 2:
        return checks[0] if checks else None
    if len(checks) == 2:
        one, other = checks
        return lambda of: one(of) and other(of)
    return lambda of: all(check(of) for check in checks)


def _path(written: str) -> tuple[str, ...]:
    return tuple(re.split(r"\s*\.\s*", written.strip())[1:])


def _bare(code: str, start: int, end: int) -> tuple[int, int]:
    """Leave out blanks and the brackets around the whole."""
    while True:
        while start < end and code[start].isspace():
            start += 1
        while start < end and code[end - 1].isspace():
            end -= 1
        if end - start < 2 or code[start] != "(" or _closing(code, start) != end - 1:
            return start, end
        start, end = start + 1, end - 1


def _closing(code: str, opening: int) -> int:
    depth = 0
    for n in range(opening, len(code)):
        depth += (code[n] in "([{") - (code[n] in ")]}")
        if not depth:
            return n
    return -1
