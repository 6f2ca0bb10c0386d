"""Matches of rules that act on several, in memory: a ``MatchesWithin``."""

from collections.abc import Sequence

from consumer.model.matches import Match


class Matches:
    """Matches by rule and scope, no longer than any rule looks back (seconds)."""

    def __init__(self, kept_seconds: float) -> None:
        self._kept_seconds = kept_seconds
        self._matches: dict[tuple[str, str, str], dict[str, Match]] = {}

    def put(self, match: Match) -> None:
        """Keep a match; one of the same event counts once."""
        of_scope = self._matches.setdefault(_place(match), {})
        of_scope.setdefault(match.event_id, match)
        while of_scope and (first := next(iter(of_scope.values()))).at < match.at - self._kept_seconds:
            del of_scope[first.event_id]

    def within(self, match: Match, after: float) -> Sequence[Match]:
        """Give what there is of the same rule and scope, later than ``after`` and up to ``match``, oldest first."""
        return [one for one in self._matches.get(_place(match), {}).values() if after < one.at <= match.at]


def _place(match: Match) -> tuple[str, str, str]:
    return match.rule, match.account, match.scope_name
