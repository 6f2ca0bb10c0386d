"""The calls of a backtest, in memory, and which of them wait: what the view of a correlator is to the live service."""

from collections import Counter
from collections.abc import Callable, Iterator

from consumer.backtest.life import Life
from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.identity import call_name
from consumer.model.over import ScopeName
from consumer.model.scopes import Scope

SWEEP_EVERY_SECONDS = 3_600.0


class Lives:
    """Calls by account and id. ``forget_seconds`` after its last event, a call that waits no more is not met again.

    Found by their names are all calls that wait, and those with events that are not folded yet, which may.
    """

    def __init__(self, forget_seconds: float) -> None:
        self._forget_seconds = forget_seconds
        self._lives: dict[str, Life] = {}
        self._unfolded: dict[str, dict[str, Life]] = {}
        self._named: dict[ScopeName, dict[str, Life]] = {}
        self._open: Counter[str] = Counter()
        self._swept_at = 0.0

    def __len__(self) -> int:
        return len(self._lives)

    def get(self, name: str) -> Call | None:
        life = self._lives.get(name)
        return None if life is None else self.settle(life)

    def met(self, name: str, logged_at: float) -> Call | None:
        """Give the call that an event of this time (seconds) meets; None where there is none, or it is forgotten."""
        life = self._lives.get(name)
        if life is None:
            return None
        call = self.settle(life)
        if life.last_at + self._forget_seconds >= logged_at or call.terminable:
            return call
        return None

    def note(self, event: CallEvent) -> Life | None:
        """Take an event that nobody asks about; gives the call's life, None where it is a repetition."""
        name = event.name
        life = self._lives.get(name)
        if life is None or (life.last_at + self._forget_seconds < event.logged_at and not self.settle(life).terminable):
            life = Life(event.account, event.call_id, event.provider)
            self._lives[name] = life
        else:
            if not life.has_room:
                self.settle(life)
            if life.has_seen(event.event_id):
                return None
        if not life.ids:
            self._unfolded.setdefault(life.account, {})[name] = life
            life.learn(event)
            self._name(life)
        elif not life.is_named and life.learn(event):
            self._name(life)
        life.tell(event)
        return life

    def settle(self, life: Life) -> Call:
        """Fold what waits of a call."""
        call = life.call
        if life.ids or call is None:
            before, call = call, life.folded()
            assert call is not None  # it began with an event
            life.be(call)
            del self._unfolded[life.account][life.name]
            self._index(life, call, waited=before is not None and before.terminable)
        return call

    def put(self, call: Call, before: Call | None) -> None:
        """Keep a call; ``before`` is what was met, or None."""
        name = call.name
        life = self._lives.get(name)
        if before is None or life is None:
            life = self._lives[name] = Life.of(call)
        else:
            life.be(call)
        waits, waited = call.terminable, before is not None and before.terminable
        if waits is not waited:
            self._index(life, call, waited=waited)
        elif waits and _told_late(before, call):
            self._name(life)

    def waiting(self, account: str, scope: Scope) -> list[Call]:
        """Give the calls of a scope that wait."""
        found: dict[str, Life] = {}
        for key in scope.index_keys():
            if key[0] != "call":
                found.update(self._named.get((account, key[0], key[1]), {}))
            elif (life := self._lives.get(name := call_name(account, key[1]))) is not None:
                found[name] = life
        calls = [self.settle(life) for life in found.values()]
        return [call for call in calls if call.terminable]

    def open(self, scope: ScopeName) -> int:
        """How many calls of a scope wait."""
        for life in list(self._unfolded.get(scope[0], {}).values()):
            self.settle(life)
        return self._open[scope[0]] if scope[1] == "account" else len(self._named.get(scope, ()))

    def forget(self, log_time: float, asked_for: Callable[[str], bool]) -> Iterator[Call]:
        """Let go of the calls that no event from ``log_time`` (seconds) on meets; looks once an hour of it.

        Gives those that are ``asked_for``.
        """
        if log_time < self._swept_at + SWEEP_EVERY_SECONDS:
            return
        self._swept_at = log_time
        last = log_time - self._forget_seconds
        for name, life in [(name, life) for name, life in self._lives.items() if life.last_at < last]:
            wanted = asked_for(name)
            if not wanted and life.is_surely_over:
                self._drop(life)
            elif not (call := self.settle(life)).terminable:
                del self._lives[name]
                if wanted:
                    yield call

    def _drop(self, life: Life) -> None:
        """Let go of a call with events that nobody has asked about."""
        if life.call is not None and life.call.terminable:
            self._open[life.account] -= 1
        name = life.name
        del self._unfolded[life.account][name], self._lives[name]
        self._unname(life)

    def _index(self, life: Life, call: Call, *, waited: bool) -> None:
        if call.terminable:
            self._open[life.account] += not waited
            self._name(life)
        else:
            self._open[life.account] -= waited
            self._unname(life)

    def _name(self, life: Life) -> None:
        """Have a call found by its names."""
        account, name, named = life.account, life.name, self._named
        if life.number:
            named.setdefault((account, "number", life.number), {})[name] = life
        if life.campaign_id:
            named.setdefault((account, "campaign", life.campaign_id), {})[name] = life
        if life.agent_id:
            named.setdefault((account, "agent", life.agent_id), {})[name] = life

    def _unname(self, life: Life) -> None:
        account, name = life.account, life.name
        for kind, told in (("number", life.number), ("campaign", life.campaign_id), ("agent", life.agent_id)):
            scope = (account, kind, told or "")
            of_scope = self._named.get(scope)
            if of_scope is not None:
                of_scope.pop(name, None)
                if not of_scope:
                    del self._named[scope]


def _told_late(before: Call | None, call: Call) -> bool:
    """Whether a call that waits has just been told to be of a campaign, an agent or a number."""
    return before is not None and not (
        before.number is call.number and before.campaign_id is call.campaign_id and before.agent_id is call.agent_id
    )
