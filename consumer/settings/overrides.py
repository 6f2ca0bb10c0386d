"""``CALLBREAKER__SECTION__KEY``: single keys of the configuration, said in the environment.

Case and the difference of ``-`` and ``_`` do not count. Items of a list are found by their ``name``.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from consumer.settings.file import PREFIX, Document, Place, parse, scalar
from consumer.settings.keys import is_text, item_of, keys_of, shapes
from consumer.settings.problems import ConfigurationError, KeyPath, Problem, path_text

_SAME = {"secret": "secrets", "secrets": "secret"}  # two ways to write one key


def as_variable(key: str) -> str:
    """``acme-ringg`` as it stands in the name of a variable: ``ACME_RINGG``."""
    return key.replace("-", "_").upper()


def override(document: Document, model: Any, environ: Mapping[str, str], *, ignore_unknown: bool = False) -> Document:
    """Put the overrides in ``environ`` over the values of ``document``, sections before keys in them.

    What cannot be put anywhere becomes a problem of the document, or is left out with ``ignore_unknown``.
    """
    names = [name for name in environ if name.upper().startswith(PREFIX)]
    done: dict[KeyPath, str] = {}
    for name in sorted(names, key=lambda name: (name.count("__"), name)):
        try:
            path, annotation = _find(name, model, document.tree)
            if path in done:
                raise _refusal(name, path_text(path), f"{done[path]} says the same key", "unset one of them")
            done[path] = name
            document = _put(document, path, _value(name, environ[name], annotation), name)
        except _NoSuchKeyError as error:
            if not ignore_unknown:
                document = replace(document, problems=(*document.problems, *error.problems))
        except ConfigurationError as error:
            document = replace(document, problems=(*document.problems, *error.problems))
    return document


class _NoSuchKeyError(ConfigurationError):
    """A variable that matches no key."""


def _refusal(name: str, path: str, reason: str, remedy: str) -> ConfigurationError:
    return ConfigurationError((Problem(name, None, path, reason, remedy),))


def _find(name: str, annotation: Any, data: Any) -> tuple[KeyPath, Any]:
    """Find the path that a variable means, and what the value there may be. Raises ``_NoSuchKeyError``."""
    path: KeyPath = ()
    rest = name[len(PREFIX) :].upper()
    while rest or not path:
        here = {as_variable(str(key)): (part, shape) for key, part, shape in _children(annotation, data)}
        matching = [key for key in here if rest == key or rest.startswith(f"{key}__")]
        if not matching:
            raise _NoSuchKeyError((_no_such_key(name, path, rest, list(here)),))
        key = max(matching, key=len)
        part, annotation = here[key]
        data = _child(data, part)
        path = (*path, part)
        rest = rest[len(key) + 2 :]
    return path, annotation


def _children(annotation: Any, data: Any) -> list[tuple[str, str | int, Any]]:
    """List how an override can go on: known keys, names that the file gives, names of the items of a list."""
    found: list[tuple[str, str | int, Any]] = [(key, key, shape) for key, shape in keys_of(annotation).items()]
    item = item_of(annotation)
    if isinstance(data, dict) and not found:
        found += [(key, key, item) for key in data]
    if isinstance(data, list):
        names = (entry.get("name") if isinstance(entry, dict) else None for entry in data)
        found += [(name, index, item) for index, name in enumerate(names) if isinstance(name, str)]
    return found


def _child(data: Any, part: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    return data[part] if isinstance(data, list) and isinstance(part, int) else None


def _no_such_key(name: str, path: KeyPath, rest: str, known: list[str]) -> Problem:
    wrong = rest.split("__", maxsplit=1)[0]
    stem = name.upper()[: len(name) - len(rest)]
    close = get_close_matches(wrong, known, n=1)
    if close:
        remedy = f"did you mean {stem}{close[0]}?"
    elif known:
        remedy = f"after {stem} there can be {', '.join(sorted(known))}"
    else:
        remedy = f"there is nothing below {path_text(path)} that it could override; unset it"
    return Problem(name, None, path_text(path), "this variable matches no key of the configuration", remedy)


def _value(name: str, text: str, annotation: Any) -> Any:
    if text in ("", "null", "~"):
        return None
    if text.startswith(("[", "{")) and not is_text(annotation):
        return parse(text, Place(name), environ=None).tree
    of_texts = any(get_origin(shape) is tuple and is_text(get_args(shape)[0]) for shape in shapes(annotation))
    return text if is_text(annotation) or of_texts else scalar(text)


def _put(document: Document, path: KeyPath, value: Any, name: str) -> Document:
    """Give a document with ``value`` at ``path``; what the file said there, or could not say, is forgotten."""
    gone = {path, (*path[:-1], _SAME.get(str(path[-1]), path[-1]))}

    def stays(other: KeyPath) -> bool:
        return not any(other[: len(path)] == lost for lost in gone)

    places = {other: place for other, place in document.places.items() if stays(other)}
    return replace(
        document,
        tree=_with(document.tree, path, value, name),
        places={**places, path: Place(name)},
        unset={other: problem for other, problem in document.unset.items() if stays(other)},
    )


def _with(tree: Any, path: KeyPath, value: Any, name: str) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(tree, list) and isinstance(head, int):
        return [_with(item, rest, value, name) if index == head and rest else item for index, item in enumerate(tree)]
    if tree is not None and not isinstance(tree, dict):
        raise _refusal(name, "", "the file has a single value where this needs a mapping", "write a mapping there")
    tree = tree or {}
    new = _with(tree.get(head), rest, value, name) if rest else value
    return {key: old for key, old in tree.items() if key != _SAME.get(str(head))} | {head: new}
