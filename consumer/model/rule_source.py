"""What a rule's function says of itself: its source, and how many values it takes."""

import inspect
from collections.abc import Callable
from typing import Any

from consumer.model.identity import digest


def source_hash(function: Callable[..., Any]) -> str:
    """Hash a rule's source text, so that a decision says exactly which code made it."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = f"{function.__module__}:{getattr(function, '__qualname__', '')}"
    return digest((text,), 6)


def takes_params(function: Callable[..., Any], values: int) -> bool:
    """Whether a function wants one argument more than the ``values`` that it is asked about."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional for p in parameters) == values + 1
