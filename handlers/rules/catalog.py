"""Finding rules by what the configuration calls them: a built-in's name, or ``module:function`` of the user's own."""

import importlib
import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from consumer.model.rules import Rule, RuleError

GROUP = "callbreaker.rules"


def find(handler: str) -> Rule:
    """Find a rule.

    Args:
        handler: the name of an entry point in ``callbreaker.rules`` (``opt_out``), or ``module:function``.

    Raises:
        RuleError: there is none, it cannot be imported, or it is not a rule.

    """
    module, colon, name = handler.partition(":")
    if colon:
        found = getattr(_imported(handler, module), name, None)
        if found is None:
            raise RuleError(f"{handler}: the module has no {name!r}")
    else:
        points = {point.name: point for point in entry_points(group=GROUP)}
        point = points.get(handler.replace("-", "_"))
        if point is None:
            raise RuleError(f"{handler}: no such rule; there are {', '.join(sorted(points))}, or module:function")
        found = _loaded(handler, point)
    if not isinstance(found, Rule):
        raise RuleError(f"{handler}: it is not a rule; decorate it with @rule from consumer.model")
    return found


def _imported(handler: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise RuleError(
                f"{handler}: the module cannot be imported: there is no {error.name!r}; put it beside the configuration "
                "file, or install it"
            ) from error
        raise _broken(handler, error) from error


def _loaded(handler: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise _broken(handler, error) from error


def _broken(handler: str, error: BaseException) -> RuleError:
    """Say where in which file a module fails; a syntax error says so itself."""
    frames = traceback.extract_tb(error.__traceback__)
    last = f" ({frames[-1].filename}, line {frames[-1].lineno})" if not isinstance(error, SyntaxError) else ""
    return RuleError(f"{handler}: the module cannot be imported: {type(error).__name__}: {error}{last}")
