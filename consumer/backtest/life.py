"""One call of a backtest: as far as its events are folded, and those that nobody has asked about yet.

Most events matter to no rule and to no order. Folding them is most of what they cost, so they wait, as little as the fold
needs of each; once somebody asks about the call, they are folded in the order in which they came.
"""

from sys import intern

from consumer.model.calls import HISTORY_SOURCE, SEEN_BYTES, SEEN_EVENTS, Call, event_hash, fold
from consumer.model.events import CallEvent
from consumer.model.identity import call_name
from consumer.model.status import FINAL, EventType, Status

Told = tuple[EventType, Status | None, int | None, float | None, float | None, float | None, bool, str, float]
"""What the fold needs of an event beside the names of its call; see ``Life.tell``."""
MOST_WAITING = 16


class Life:
    """A call. ``call`` is it without the events that are ``waiting``, whose ids are in ``ids``.

    Its names are those of the first event that has them; ``is_named`` says that nothing more is to be learned of them.
    """

    __slots__ = (
        "account",
        "agent_id",
        "call",
        "call_id",
        "campaign_id",
        "from_number",
        "ids",
        "is_named",
        "last_at",
        "number",
        "provider",
        "waiting",
    )

    def __init__(self, account: str, call_id: str, provider: str) -> None:
        self.account = intern(account)  # one text of many calls, each of which was read with its own copy
        self.call_id = call_id
        self.provider = intern(provider)
        self.campaign_id: str | None = None
        self.agent_id: str | None = None
        self.number: str | None = None
        self.from_number: str | None = None
        self.last_at = 0.0
        self.call: Call | None = None
        self.is_named = False
        self.ids: list[str] = []
        self.waiting: list[Told] = []

    @classmethod
    def of(cls, call: Call) -> "Life":
        """Begin with a call as it stands."""
        life = cls(call.account, call.call_id, call.provider)
        life.be(call)
        return life

    @property
    def name(self) -> str:
        """The name of the call."""
        return call_name(self.account, self.call_id)

    def be(self, call: Call) -> None:
        """Stand as ``call`` does, with nothing waiting."""
        self.call = call
        self.ids, self.waiting = [], []
        self.last_at = call.last_at
        self.campaign_id, self.agent_id = call.campaign_id, call.agent_id
        self.number, self.from_number = call.number, call.from_number
        self.is_named = False

    def has_seen(self, event_id: str) -> bool:
        """Whether the fold would take an event for a repetition; only where it ``has_room``."""
        return event_id in self.ids or (self.call is not None and event_hash(event_id) in self.call.seen)

    @property
    def has_room(self) -> bool:
        """Whether one more event can wait, with none of those before it forgotten by the fold."""
        waiting = len(self.waiting)
        return waiting < MOST_WAITING and (
            self.call is None or len(self.call.seen) // SEEN_BYTES + waiting < SEEN_EVENTS
        )

    def tell(self, event: CallEvent) -> None:
        """Let an event wait."""
        self.ids.append(event.event_id)
        self.waiting.append(
            (
                event.type,
                event.status,
                event.attempt,
                event.at,
                event.duration_seconds,
                event.cost,
                event.connected,
                event.source,
                event.logged_at,
            )
        )
        self.last_at = max(self.last_at, event.logged_at)

    def learn(self, event: CallEvent) -> bool:
        """Learn names; says whether there was one that is new and that orders may be aimed at."""
        known = (self.number, self.campaign_id, self.agent_id)
        self.number = self.number or event.number
        self.campaign_id = self.campaign_id or (event.campaign_id and intern(event.campaign_id))
        self.agent_id = self.agent_id or (event.agent_id and intern(event.agent_id))
        self.from_number = self.from_number or event.from_number
        now = (self.number, self.campaign_id, self.agent_id)
        self.is_named = bool(self.from_number) and all(now)
        return now != known

    def folded(self) -> Call | None:
        """Fold what waits; gives the call, None where no event has told of it."""
        call = self.call
        for event_id, told in zip(self.ids, self.waiting, strict=True):
            call = fold(call, self._event(event_id, told))
        return call

    @property
    def is_surely_over(self) -> bool:
        """Whether the call waits for no attempt, as far as can be told without folding; False is no answer."""
        ended, latest = -1, -1
        for _, status, attempt, _, _, _, _, source, _ in self.waiting:
            if status is None:
                continue
            if source == HISTORY_SOURCE or (attempt is None and status is Status.RETRY):
                return False  # which attempt that is, only the fold can tell
            if attempt is None and status in FINAL:
                return True
            latest = max(latest, attempt or 0)
            ended = max(ended, attempt or 0) if status in FINAL else ended
        return self.call is None and ended >= 0 and ended == latest

    def _event(self, event_id: str, told: Told) -> CallEvent:
        kind, status, attempt, at, duration_seconds, cost, connected, source, logged_at = told
        return CallEvent(
            self.account,
            self.provider,
            self.call_id,
            event_id,
            kind,
            status,
            attempt,
            self.campaign_id,
            self.agent_id,
            self.number,
            self.from_number,
            at,
            duration_seconds,
            cost,
            connected,
            source=source,
            logged_at=logged_at,
        )
