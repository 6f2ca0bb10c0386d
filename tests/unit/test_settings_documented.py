"""docs/configuration.md against the model: every key, its default and its possible values."""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from consumer.settings import Settings
from consumer.settings.keys import is_section, item_of, keys_of, shapes

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) ?\|$", re.MULTILINE)
DOCUMENTED = {key: (kind, default.strip().strip("`")) for key, kind, default, _ in ROW.findall(DOCUMENT.read_text())}


def leaves(annotation: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every key that holds a value and not further keys, with what its value may be."""
    if keys := keys_of(annotation):
        for key, below in keys.items():
            yield from leaves(below, f"{path}.{key}".lstrip("."))
    elif any(is_section(shape) for shape in shapes(item_of(annotation))):
        items = next(get_origin(shape) for shape in shapes(annotation))
        yield from leaves(item_of(annotation), path + (".NAME" if items is dict else "[]"))
    else:
        yield path, annotation


def fields(annotation: Any, path: str) -> Iterator[tuple[str, FieldInfo]]:
    """Every key that is a field of a section; several for one key where sections share a place."""
    for section in filter(is_section, shapes(annotation)):
        for name, field in section.model_fields.items():
            here = f"{path}.{name}".lstrip(".")
            yield here, field
            yield from fields(field.annotation, here)
            if get_origin(field.annotation) in (dict, tuple):
                yield from fields(
                    item_of(field.annotation), here + (".NAME" if get_origin(field.annotation) is dict else "[]")
                )


LEAVES = dict(leaves(Settings, ""))


def test_the_document_has_every_key_and_no_other() -> None:
    assert len(ROW.findall(DOCUMENT.read_text())) == len(DOCUMENTED)
    assert sorted(DOCUMENTED) == sorted(LEAVES)


def test_the_document_has_the_defaults_of_the_model() -> None:
    compared = 0
    for key, field in fields(Settings, ""):
        if key not in DOCUMENTED or key.endswith(("auth.type", "stop.hold")):
            continue
        written = DOCUMENTED[key][1]
        if field.is_required():
            assert written == "required", key
        elif field.default is None:
            assert written == "none", key
        else:
            kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            assert TypeAdapter(kind).validate_python(yaml.safe_load(written)) == field.default, key
        compared += 1
    assert compared > 50


def test_the_document_has_the_possible_values_of_the_model() -> None:
    for key, annotation in LEAVES.items():
        for shape in shapes(annotation):
            if get_origin(shape) is Literal and not key.endswith("auth.type"):
                assert DOCUMENTED[key][0].split(", ") == list(get_args(shape)), key
            if isinstance(shape, type) and issubclass(shape, Enum):
                assert DOCUMENTED[key][0].split(", ") == [member.value for member in shape], key
