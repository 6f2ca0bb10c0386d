"""Which pages of an account's call history to read, and what in them is news. Pure.

Senders of webhooks give up within minutes. For every order in force the history is therefore swept now and then: calls
that webhooks never told of become known, so that they are stopped by id, and final states that never came are learned.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from consumer.model.events import CallEvent
from consumer.model.orders import OrderRecord
from consumer.model.provider import HistoryPage, HistoryQuery
from consumer.model.scopes import ScopeKind
from consumer.model.status import Status

REMEMBERED = 200_000
PAGE = 100
FIRST_SWEEP_SECONDS = 5.0
NAMED_AT_ONCE = 500
"""So many named calls are checked against the ledger in one go; an order may name 10,000."""

State = tuple[Status | None, int | None, bool]
"""How a call was listed last, and whether a listing has ever told of its campaign."""


def queries_for(orders: Iterable[OrderRecord]) -> tuple[HistoryQuery, ...]:
    """The listings that show the calls of these orders; numbers are matched by us, among the calls that wait."""
    queries: dict[HistoryQuery, None] = {}
    for record in orders:
        scope = record.order.scope
        match scope.kind:
            case ScopeKind.CAMPAIGN | ScopeKind.NUMBER_IN_CAMPAIGN:
                queries[HistoryQuery(campaign_id=scope.campaign_id, limit=PAGE)] = None
            case ScopeKind.AGENT:
                queries[HistoryQuery(agent_id=scope.agent_id, limit=PAGE)] = None
            case ScopeKind.NUMBER:
                for status in (Status.REGISTERED, Status.RETRY):
                    queries[HistoryQuery(statuses=(status,), limit=PAGE)] = None
            case ScopeKind.CALL:
                continue  # calls by id are looked up one by one
    return tuple(queries)


class Reconciler:
    """Sweeps one account's history, a page at a time.

    ``moment`` is in seconds on a monotonic clock, ``now`` in seconds since the epoch, as the orders have it.
    """

    def __init__(self, every_seconds: float | None) -> None:
        self._every = every_seconds
        self._swept_at: dict[HistoryQuery, float] = {}
        self._reading = False
        self._pages: list[tuple[HistoryQuery, HistoryQuery]] = []
        self._known: OrderedDict[str, State] = OrderedDict()
        self._named: OrderedDict[tuple[str, str], float] = OrderedDict()

    def next_page(self, wanted: Iterable[HistoryQuery], moment: float) -> HistoryQuery | None:
        """Give the next page to read, None while one is being read or every wanted listing is fresh enough.

        The first sweep waits a little: right after an order, the account's rate belongs to the stops.
        """
        if self._every is None or self._reading:
            return None
        if not self._pages:
            first_at = moment - self._every + min(FIRST_SWEEP_SECONDS, self._every)
            due = [query for query in wanted if moment - self._swept_at.setdefault(query, first_at) >= self._every]
            self._pages = [(query, query) for query in due]
            for query in due:
                self._swept_at[query] = moment
        self._reading = bool(self._pages)
        return self._pages[0][1] if self._pages else None

    def read(self, page: HistoryPage) -> tuple[CallEvent, ...]:
        """Take in the page that ``next_page`` asked for; gives the events that say something new."""
        self._reading = False
        query, _ = self._pages.pop(0)
        if page.following is not None:
            self._pages.insert(0, (query, page.following))
        return tuple(event for event in page.events if self._is_news(event))

    def postponed(self) -> None:
        """Give a page back that could not be asked for yet."""
        self._reading = False

    def failed(self) -> None:
        """Drop the page that could not be read; its listing is swept again when its time has come."""
        self._reading = False
        self._pages.pop(0)

    def next_named(
        self, orders: Iterable[OrderRecord], is_decided: Callable[[OrderRecord, str], bool], now: float
    ) -> tuple[OrderRecord, str] | None:
        """Give a call that an order names by id, about which nothing was decided and nobody was asked lately."""
        if self._every is None:
            return None
        checked = 0
        for record in orders:
            if now - (record.since or now) < min(FIRST_SWEEP_SECONDS, self._every):
                continue
            for call_id in record.order.scope.call_ids:
                key = record.order.order_id, call_id
                if now - self._named.get(key, 0.0) < self._every:
                    continue
                self._named[key] = now
                _trim(self._named)
                if not is_decided(record, call_id):
                    return record, call_id
                checked += 1
                if checked >= NAMED_AT_ONCE:
                    return None
        return None

    def named_later(self, record: OrderRecord, call_id: str) -> None:
        """Give a named call back that could not be asked for yet."""
        self._named.pop((record.order.order_id, call_id), None)

    def _is_news(self, event: CallEvent) -> bool:
        known = self._known.get(event.call_id)
        state = (event.status, event.attempt, event.campaign_id is not None or (known is not None and known[2]))
        if known == state:
            return False
        self._known[event.call_id] = state
        _trim(self._known)
        return True


def _trim(remembered: OrderedDict[str, State] | OrderedDict[tuple[str, str], float]) -> None:
    while len(remembered) > REMEMBERED:
        remembered.popitem(last=False)
