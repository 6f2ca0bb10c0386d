"""The judge: what the client of the provider did, counted by somebody who believes nobody else's books."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from .calls import Call, CallTable, Campaign, Status
from .orders import Orders
from .scenario import RateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Counts since the start or the last reset. Ids are counted each time they are named."""

    webhooks_sent: int
    webhooks_accepted: int
    webhooks_given_up: int
    webhooks_waiting: int
    webhook_attempts: int
    webhooks_lost: int
    """Not sent at all, by the fault `lose`."""
    webhooks_repeated: int

    calls: int
    calls_by_status: Mapping[str, int]
    people_opted_out: int
    attempts_after_opt_out: int
    """Attempts begun after the listener had accepted that this person opted out."""

    terminate_requests: int
    terminate_ids: int
    terminate_answers: Mapping[str, int]
    """By HTTP status; `none`: never answered."""
    ids_unknown: int
    ids_not_terminable: int
    """Named while ongoing or after the end, cancelled ones left out."""
    needless_ids: int
    """Named though already terminated by a request that was answered truthfully."""
    repeated_after_unknown: int
    """Named though already terminated, but the answer to that request was withheld or false."""
    needless_campaign_stops: int
    """The same for a campaign that a request has ended for good."""
    duplicate_ids: int
    most_requests_for_one_call: int

    calls_cut: int
    calls_cut_by_status: Mapping[str, int]
    """`registered`, `retry`, `ringing` or `live` when they were terminated."""
    live_calls_cut: int
    """Cut while connected; those an order with `allow_live` covers are left out."""
    orders_told: int
    terminated_unordered: int
    """0 while no order was told."""
    ordered_still_terminable: int

    requests_over_100: int
    requests_with_wrong_selectors: int
    requests_over_rate: int
    peak_requests_per_second: int
    peak_requests_per_minute: int
    unauthorized: int
    unknown_paths: int
    faults_struck: Mapping[str, int]

    @property
    def violations(self) -> dict[str, int]:
        """What must be zero and is not."""
        names = (
            "live_calls_cut",
            "terminated_unordered",
            "requests_over_100",
            "requests_with_wrong_selectors",
            "requests_over_rate",
            "needless_ids",
            "needless_campaign_stops",
            "duplicate_ids",
            "unauthorized",
            "unknown_paths",
        )
        return {name: count for name in names if (count := getattr(self, name))}

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "violations": self.violations}


class _Window:
    """Arrivals in the last `seconds`, against what the limit allows in them."""

    def __init__(self, seconds: float, limit: RateLimit) -> None:
        self._seconds = seconds
        self._allowed = ceil(limit.requests_per_second * (seconds + limit.jitter_seconds)) + limit.burst
        self._arrivals: deque[float] = deque()
        self.peak = 0

    def is_over(self, now: float) -> bool:
        self._arrivals.append(now)
        while self._arrivals[0] <= now - self._seconds:
            self._arrivals.popleft()
        self.peak = max(self.peak, len(self._arrivals))
        return len(self._arrivals) > self._allowed


class Judge:
    """Takes notes as things happen; `verdict` is their sum. Synchronous; times in seconds since the epoch."""

    def __init__(self, table: CallTable, limit: RateLimit) -> None:
        self.orders = Orders()
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._table = table
        self._second, self._minute = _Window(1, limit), _Window(60, limit)
        self._answers: Counter[str] = Counter()
        self._named: Counter[str] = Counter()
        self._cut_by_status: Counter[str] = Counter()
        # cut calls that no order explains yet; an order told later may, and what is explained once stays so
        self._unordered: list[tuple[Call, float]] = []
        self._live_cut: list[tuple[Call, float]] = []
        self._in_request: list[Call] = []
        self._campaign_in_request: Campaign | None = None
        self._told_opt_out: set[str] = set()

    def arrived(self, now: float, *, stops: bool) -> bool:
        """Note a request with the right key; True when it is one more than the rate limit allows."""
        self.counts["terminate_requests"] += stops
        over = [window.is_over(now) for window in (self._second, self._minute)]
        self.counts["requests_over_rate"] += any(over)
        return any(over)

    def named(self, call_ids: Iterable[str]) -> None:
        """Note the ids that a request asks to terminate."""
        ids = list(call_ids)
        self.counts["terminate_ids"] += len(ids)
        self.counts["duplicate_ids"] += len(ids) - len(set(ids))
        self._named.update(set(ids))
        for call_id in set(ids):
            call = self._table.by_id.get(call_id)
            if call is None:
                self.counts["ids_unknown"] += 1
            elif call.status is Status.CANCELLED:
                self.counts["needless_ids" if call.cut_told else "repeated_after_unknown"] += 1
                # answered truthfully this time: one more would be needless
                self._in_request.append(call)
            elif not call.terminable:
                self.counts["ids_not_terminable"] += 1

    def stops_campaign(self, campaign: Campaign) -> None:
        """Note that a request ends this campaign for good."""
        self._campaign_in_request = campaign

    def stops_campaign_again(self, campaign: Campaign) -> None:
        """Note a request to end a campaign that has ended."""
        self.counts["needless_campaign_stops"] += campaign.stop_told
        self._campaign_in_request = campaign

    def cut(self, call: Call, now: float) -> None:
        """Note a call that is about to be terminated; its status is still the one before."""
        ringing_or_live = "live" if call.live else "ringing"
        self._cut_by_status[ringing_or_live if call.status is Status.ONGOING else call.status] += 1
        if not self.orders.covers(call, now):
            self._unordered.append((call, now))
        if call.live:
            self._live_cut.append((call, now))
        self._in_request.append(call)

    def answered(self, status: int | None, *, truthfully: bool, stops: bool) -> None:
        """Note the answer (None: never one) to the request whose ids and cuts were noted last."""
        if truthfully:
            for call in self._in_request:
                call.cut_told = True
            if self._campaign_in_request is not None:
                self._campaign_in_request.stop_told = True
        self._in_request = []
        self._campaign_in_request = None
        if stops:
            self._answers["none" if status is None else str(status)] += 1

    def attempt_begins(self, call: Call) -> None:
        self.counts["attempts_after_opt_out"] += call.number in self._told_opt_out

    def opt_out_accepted(self, number: str) -> None:
        self._told_opt_out.add(number)

    def verdict(self, *, webhooks_waiting: int) -> Verdict:
        covers = self.orders.covers
        if len(self.orders):
            self._unordered = [(call, at) for call, at in self._unordered if not covers(call, at)]
        count = self.counts
        return Verdict(
            webhooks_sent=count["webhooks_sent"],
            webhooks_accepted=count["webhooks_accepted"],
            webhooks_given_up=count["webhooks_given_up"],
            webhooks_waiting=webhooks_waiting,
            webhook_attempts=count["webhook_attempts"],
            webhooks_lost=count["webhooks_lost"],
            webhooks_repeated=count["webhooks_repeated"],
            calls=len(self._table.by_id),
            calls_by_status={s.value: len(calls) for s, calls in self._table.everything.by_status.items()},
            people_opted_out=self.orders.people_opted_out,
            attempts_after_opt_out=count["attempts_after_opt_out"],
            terminate_requests=count["terminate_requests"],
            terminate_ids=count["terminate_ids"],
            terminate_answers=dict(self._answers),
            ids_unknown=count["ids_unknown"],
            ids_not_terminable=count["ids_not_terminable"],
            needless_ids=count["needless_ids"],
            repeated_after_unknown=count["repeated_after_unknown"],
            needless_campaign_stops=count["needless_campaign_stops"],
            duplicate_ids=count["duplicate_ids"],
            most_requests_for_one_call=max(self._named.values(), default=0),
            calls_cut=self._cut_by_status.total(),
            calls_cut_by_status={str(status): cut for status, cut in self._cut_by_status.items()},
            live_calls_cut=sum(not covers(call, at, live=True) for call, at in self._live_cut),
            orders_told=len(self.orders),
            terminated_unordered=len(self._unordered) if len(self.orders) else 0,
            ordered_still_terminable=self.orders.still_terminable(self._table),
            requests_over_100=count["requests_over_100"],
            requests_with_wrong_selectors=count["requests_with_wrong_selectors"],
            requests_over_rate=count["requests_over_rate"],
            peak_requests_per_second=self._second.peak,
            peak_requests_per_minute=self._minute.peak,
            unauthorized=count["unauthorized"],
            unknown_paths=count["unknown_paths"],
            faults_struck={str(kind): struck for kind, struck in self.faults.items()},
        )
