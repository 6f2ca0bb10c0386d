"""The ``params`` of a rule: checked against the model that the rule declares."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from consumer.model.identity import digest
from consumer.model.refusals import RefusedError
from consumer.model.stops import RuleError


def bound_params(kind: type[Any] | None, params: Mapping[str, Any]) -> Any:
    """Make the value a rule takes as its params.

    Raises:
        RuleError: an unknown key (the known ones are named), a missing one, or a value of the wrong type.

    """
    if kind is None or not issubclass(kind, BaseModel):
        return dict(params)
    known = list(kind.model_fields)
    for name in params:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise RuleError(f"params: there is no {name!r}; {meant}")
    try:
        return kind.model_validate(dict(params))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RuleError(_words(first, known)) from error


def params_hash(params: Mapping[str, Any]) -> str:
    """Hash params, whatever the order of their keys."""
    return digest((orjson.dumps(params, option=orjson.OPT_SORT_KEYS, default=str).decode(),), 6)


def _words(detail: ErrorDetails, known: list[str]) -> str:
    where = ".".join(("params", *map(str, detail["loc"])))
    if detail["type"] == "missing":
        return f"{where} is missing; the params are {', '.join(known)}"
    refused = detail.get("ctx", {}).get("error")
    if isinstance(refused, RefusedError):
        return f"{where}: {refused}"
    return f"{where}: {detail['msg'].replace('Input should', 'it should').replace('Value error, ', '')}"
