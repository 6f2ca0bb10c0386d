"""Finding rules by what the configuration calls them: a built-in's name, or ``module:function`` of the user's own."""

import importlib
from importlib.metadata import entry_points

from consumer.model.rules import EventRule, RuleError

GROUP = "callbreaker.rules"


def find(handler: str) -> EventRule:
    """Find a rule.

    Args:
        handler: the name of an entry point in ``callbreaker.rules`` (``opt_out``), or ``module:function``.

    Raises:
        RuleError: there is none, it cannot be imported, or it is not a rule.

    """
    if ":" in handler:
        module, _, name = handler.partition(":")
        try:
            found = getattr(importlib.import_module(module), name, None)
        except Exception as error:
            raise RuleError(f"{handler}: the module cannot be imported: {type(error).__name__}: {error}") from error
        if found is None:
            raise RuleError(f"{handler}: the module has no {name!r}")
    else:
        points = {point.name: point for point in entry_points(group=GROUP)}
        point = points.get(handler.replace("-", "_"))
        if point is None:
            raise RuleError(f"{handler}: no such rule; there are {', '.join(sorted(points))}, or module:function")
        found = point.load()
    if not isinstance(found, EventRule):
        raise RuleError(f"{handler}: it is not a rule; decorate it with @rule from consumer.model")
    return found
