"""A document against its model: every problem at once, each with its place, in words and without the value."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from consumer.model.accounts import Section
from consumer.model.refusals import RefusalsError, RefusedError
from consumer.settings.file import Document
from consumer.settings.keys import is_section, item_of, keys_of, shapes
from consumer.settings.problems import ConfigurationError, KeyPath, Problem

_SectionT = TypeVar("_SectionT", bound=Section)
_WRONG_KEY = "[key]"  # pydantic's last step to a key that its dict must not have
_ANYTHING_ELSE = "correct the value; docs/configuration.md says what it may be"
_MEANINGS = {
    "string_type": ("this is not text", "put it in quotes"),
    "tuple_type": ("this is not a list", "write [a, b], or a line with - for each"),
    "dict_type": ("this is not a mapping of keys to values", "write `key: value` lines below it"),
    "model_type": ("this is not a mapping of keys to values", "write `key: value` lines below it"),
    "model_attributes_type": ("this is not a mapping of keys to values", "write `key: value` lines below it"),
    "union_tag_not_found": ("`type` is missing", "add one: header, bearer, hmac-sha256, standard-webhooks or none"),
    "union_tag_invalid": ("no such `type`", "write one of: header, bearer, hmac-sha256, standard-webhooks, none"),
    "string_too_short": ("this is empty", "write a value, or remove the key"),
    "too_short": ("this list is empty", "write at least one"),
    "finite_number": ("this is not a finite number", "write a finite one"),
}


def checked(document: Document, model: type[_SectionT], context: Mapping[str, Any]) -> _SectionT:
    """Make the model's value of a document. Raises ``ConfigurationError`` with everything that is wrong."""
    problems = [*document.problems, *document.unset.values()]
    value = None
    try:
        value = model.model_validate(document.tree, context=dict(context))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += [problem for detail in details for problem in _explained(detail, document, model)]
        problems += _between_sound_parts(details, document, model, context)
    if value is None or problems:
        raise ConfigurationError(_in_order(problems, document))
    return value


def _in_order(problems: list[Problem], document: Document) -> tuple[Problem, ...]:
    """As the file has them, each once, overrides last."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.file != document.root.file, p.file, p.line or 0)))


def _between_sound_parts(
    details: list[ErrorDetails], document: Document, model: type[Section], context: Mapping[str, Any]
) -> Iterator[Problem]:
    """Contradictions between parts show only when all parts are sound: look again without the parts that are not."""
    broken = {_part(detail["loc"], model) for detail in details if detail["loc"]}
    tree, kept = _without(document.tree, broken)
    try:
        if broken:
            model.model_validate(tree, context={**context, "broken": {part[0] for part in broken}})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            for refusal in _refusals(detail) if not detail["loc"] else ():
                yield document.problem(_in_file(refusal.at, kept), refusal.reason, refusal.remedy)


def _part(loc: KeyPath, model: type[Section]) -> KeyPath:
    """Give the account, rule or operator that an error is in, else the section."""
    return loc[:2] if item_of(keys_of(model).get(str(loc[0]))) else loc[:1]


def _without(tree: Mapping[str, Any], broken: Collection[KeyPath]) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Leave parts out of the tree; also gives, for each of its lists, at which index its items were before."""
    sound: dict[str, Any] = {}
    kept: dict[str, list[int]] = {}
    for section, value in tree.items():
        if (section,) in broken:
            continue
        sound[section] = value
        if isinstance(value, list):
            kept[section] = [index for index in range(len(value)) if (section, index) not in broken]
            sound[section] = [value[index] for index in kept[section]]
        elif isinstance(value, dict):
            sound[section] = {key: item for key, item in value.items() if (section, key) not in broken}
    return sound, kept


def _in_file(path: KeyPath, kept: Mapping[str, list[int]]) -> KeyPath:
    if len(path) > 1 and isinstance(path[1], int):
        return (path[0], kept[str(path[0])][path[1]], *path[2:])
    return path


def _explained(detail: ErrorDetails, document: Document, model: type[Section]) -> Iterator[Problem]:
    """Say what one of pydantic's errors means in the file; nothing where it only follows from another problem."""
    path, keys = _walked(detail, document.tree, model)
    if detail["type"] == "default_factory_not_called" or any(path[:n] in document.unset for n in range(len(path) + 1)):
        return
    if refusals := _refusals(detail):
        for refusal in refusals:
            yield document.problem((*path, *refusal.at), refusal.reason, refusal.remedy)
    else:
        yield document.problem(path, *_words(detail, path, keys))


def _refusals(detail: ErrorDetails) -> tuple[RefusedError, ...]:
    match detail.get("ctx", {}).get("error"):
        case RefusalsError() as error:
            return error.refusals
        case RefusedError() as error:
            return (error,)
        case _:
            return ()


def _walked(detail: ErrorDetails, tree: Any, model: type[Section]) -> tuple[KeyPath, Collection[str]]:
    """Find an error in the file, without the steps that only pydantic sees, and the keys that may stand there."""
    path: KeyPath = ()
    annotation, tag, keys = model, None, keys_of(model)
    for step, part in enumerate(detail["loc"], start=1):
        if part == _WRONG_KEY:
            break
        if tag is None and sum(map(is_section, shapes(annotation))) > 1:
            tag = part
            continue
        keys = keys_of(annotation, tag)
        annotation, tag = keys.get(str(part), item_of(annotation)), None
        missing = detail["type"] == "missing" and step == len(detail["loc"])
        if _holds(tree, part):
            path, tree = (*path, part), tree[part]
        elif isinstance(tree, dict) and missing:
            path = (*path, part)
    return path, keys


def _holds(tree: Any, part: str | int) -> bool:
    return isinstance(part, int) if isinstance(tree, list) else isinstance(tree, dict) and part in tree


def _words(detail: ErrorDetails, path: KeyPath, keys: Collection[str]) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden" or detail["loc"][-1:] == (_WRONG_KEY,):
        return _unknown_key(str(path[-1]), keys)
    if kind == "missing":
        return "this key is missing", f"add `{path[-1]}: …`"
    if kind in ("literal_error", "enum"):
        return "this is none of the possible values", f"write {context['expected']}"
    if kind == "string_pattern_mismatch":
        return "this does not have the form that is needed here", f"write what matches {context['pattern']}"
    if kind in _MEANINGS:
        return _MEANINGS[kind]
    return detail["msg"].replace("Input should", "this should"), _ANYTHING_ELSE


def _unknown_key(key: str, known: Collection[str]) -> tuple[str, str]:
    close = get_close_matches(key, known, n=1)
    if close and close[0] != key:
        return "there is no such key", f"did you mean `{close[0]}`?"
    return "there is no such key", f"the keys here are {', '.join(f'`{name}`' for name in sorted(known))}"
