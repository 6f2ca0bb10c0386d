"""Which keys a configuration may have, read off its model."""

import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr

from consumer.model.accounts import Section


def shapes(annotation: Any) -> Iterator[Any]:
    """Yield what a value may be: the members of a union, without ``Annotated`` and without None."""
    if get_origin(annotation) is Annotated:
        yield from shapes(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from shapes(member)
    elif annotation is not types.NoneType:
        yield annotation


def keys_of(annotation: Any, tag: object = None) -> dict[str, Any]:
    """Every key that a mapping of this shape may have, with what its value may be.

    ``tag`` narrows a union to the member whose ``type`` it is. Names that the user chooses are not among the keys.
    """
    found: dict[str, Any] = {}
    for shape in shapes(annotation):
        if is_section(shape) and tag in (None, _tag(shape)):
            found = {**shape.written_keys(), **found}
        elif get_origin(shape) is dict and get_origin(get_args(shape)[0]) is Literal:
            names, value = get_args(shape)
            found = {**dict.fromkeys(get_args(names), value), **found}
    return found


def item_of(annotation: Any) -> Any:
    """Say what an item of a list, or a value under a name that the user chooses, may be; None if there are none."""
    for shape in shapes(annotation):
        if get_origin(shape) is tuple:
            return get_args(shape)[0]
        if get_origin(shape) is dict:
            return get_args(shape)[1]
    return None


def is_section(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, Section)


def is_text(annotation: Any) -> bool:
    """Whether a value is text, whatever it looks like: 12345678 is a fine secret."""
    return any(
        get_origin(shape) is Literal or (isinstance(shape, type) and issubclass(shape, str | SecretStr | Path | Enum))
        for shape in shapes(annotation)
    )


def _tag(section: type[Section]) -> object:
    field = section.model_fields.get("type")
    return field.default if field else None
