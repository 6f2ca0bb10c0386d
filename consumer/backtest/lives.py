"""The calls of a backtest, in memory, and which of them wait: what the view of a correlator is to the live service."""

from collections import Counter
from collections.abc import Iterator

from consumer.correlate.calls import CallName
from consumer.model.calls import Call
from consumer.model.over import ScopeName
from consumer.model.scopes import Key, Scope

SWEEP_EVERY_SECONDS = 3_600.0


class Lives:
    """Calls by account and id. ``forget_seconds`` after its last event, a call that waits no more is not met again."""

    def __init__(self, forget_seconds: float) -> None:
        self._forget_seconds = forget_seconds
        self._calls: dict[CallName, Call] = {}
        self._waiting: dict[tuple[str, Key], dict[CallName, None]] = {}
        self._open: Counter[str] = Counter()
        self._swept_at = 0.0

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def get(self, name: CallName) -> Call | None:
        return self._calls.get(name)

    def met(self, name: CallName, logged_at: float) -> Call | None:
        """Give the call that an event of this time (seconds) meets; None where there is none, or it is forgotten."""
        known = self._calls.get(name)
        if known is None or known.last_at + self._forget_seconds >= logged_at or known.terminable:
            return known
        return None

    def put(self, call: Call, before: Call | None) -> None:
        """Keep a call; ``before`` is what was met."""
        name = (call.account, call.call_id)
        self._calls[name] = call
        waits = call.terminable
        if before is None:
            waited = False
        elif before.progress is call.progress:
            waited = waits
        else:
            waited = before.terminable
        if waits is waited:
            if not waits or not _told_late(before, call):
                return
        else:
            self._open[call.account] += 1 if waits else -1
        if waits:
            for key in _keys(call):
                self._waiting.setdefault((call.account, key), {})[name] = None
        else:
            for key in _keys(call):
                of_key = self._waiting.get((call.account, key))
                if of_key is not None:
                    of_key.pop(name, None)
                    if not of_key:
                        del self._waiting[call.account, key]

    def waiting(self, account: str, scope: Scope) -> list[Call]:
        """Give the calls of a scope that wait, those that began to wait first in front."""
        names: dict[CallName, None] = {}
        for key in scope.index_keys():
            if key[0] == "call":
                names[account, key[1]] = None
            else:
                names.update(self._waiting.get((account, key[:2]), {}))
        found = (self._calls.get(name) for name in names)
        return [call for call in found if call is not None and call.terminable]

    def open(self, scope: ScopeName) -> int:
        """How many calls of a scope wait."""
        account, kind, name = scope
        return self._open[account] if kind == "account" else len(self._waiting.get((account, (kind, name)), ()))

    def forget(self, log_time: float) -> list[Call]:
        """Let go of the calls that no event from ``log_time`` (seconds) on meets; gives them. Looks once an hour of it."""
        if log_time < self._swept_at + SWEEP_EVERY_SECONDS:
            return []
        self._swept_at = log_time
        last = log_time - self._forget_seconds
        gone = [call for call in self._calls.values() if call.last_at < last and not call.terminable]
        for call in gone:
            del self._calls[call.name]
        return gone


def _told_late(before: Call | None, call: Call) -> bool:
    """Whether a call that waits has just been told to be of a campaign, an agent or a number."""
    return before is not None and not (
        before.number is call.number and before.campaign_id is call.campaign_id and before.agent_id is call.agent_id
    )


def _keys(call: Call) -> Iterator[Key]:
    if call.campaign_id:
        yield "campaign", call.campaign_id
    if call.agent_id:
        yield "agent", call.agent_id
    if call.number:
        yield "number", call.number
