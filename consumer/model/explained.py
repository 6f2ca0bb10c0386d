"""What an order says of why it was made: the rule, what it saw, and nothing that may not be shown."""

import re
from collections.abc import Mapping
from typing import Any

from consumer.model.identity import mask_number

NUMBERS = frozenset({"number", "from_number"})
LIKE_A_NUMBER = re.compile(r"(?<![\w+-])\+?\d(?:[\s().-]{0,2}\d){6,14}(?![\w-])")
"""A phone number as people write it, and no part of an id."""
LONGEST_SHOWN = 200


def shown(value: Any, path: str = "") -> Any:
    """Write a value as an explanation shows it: short, without phone numbers, of maps and lists only how much they hold."""
    if isinstance(value, str):
        if path.rpartition(".")[2] in NUMBERS:
            return mask_number(value)
        return LIKE_A_NUMBER.sub(lambda match: mask_number(match[0]), value)[:LONGEST_SHOWN]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return f"map of {len(value)}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"list of {len(value)}"
    return shown(str(value), path)


def shown_all(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write values by their names."""
    return {name: shown(value, name) for name, value in values.items()}
