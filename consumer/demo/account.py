"""The short account at the end: what was done, beside what the provider's judge counted. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from consumer.demo.figures import Figures
from consumer.model.terminations import AnswerClass

IDS_IN_A_REQUEST = 100
HEEDED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what, how many, beside what, and whether the two agree."""

    what: str
    count: int
    beside: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class CampaignStop:
    """What the stop order for the campaign came to: calls named in its requests, and how many requests that took.

    ``came_later`` are calls that were ringing when it was given and came back to the queue: stopped as they came.
    ``dialled_late`` are calls that waited then, and were dialled when the order should long have been heeded.
    """

    calls: int
    requests: int
    came_later: int
    dialled_late: int


def campaign_stop(terminations: Sequence[Mapping[str, Any]], dialled_late: int) -> CampaignStop:
    """Read it off the order's terminations, as the operator API lists them.

    A call that waited when the order came was found by looking through the waiting calls, so no event is its evidence. One
    that came back while its request travelled has two terminations. A request that stayed, because a call in it was dialled
    in the moment before it left, is none: its other calls went into the next.
    """
    asked: defaultdict[str, set[str]] = defaultdict(set)
    first: set[str] = set()
    for t in terminations:
        requests = {r["request_id"] for r in t["requests"] if r["answer"] != AnswerClass.NOT_SENT}
        asked[t["call_id"]] |= requests
        first |= set() if t["evidence"] else requests
    named = [call_id for call_id, requests in asked.items() if requests & first]
    return CampaignStop(len(named), len(first), sum(map(bool, asked.values())) - len(named), dialled_late)


def account(figures: Figures, stop: CampaignStop) -> list[Entry]:
    """Draw up the account."""
    verdict = figures.verdict
    least = ceil(stop.calls / IDS_IN_A_REQUEST)
    asked = figures.confirmed + figures.missed
    return [
        _same("webhooks taken", figures.webhooks_taken, "accepted, says the provider", verdict["webhooks_accepted"]),
        _same("calls seen", figures.calls_seen, "registered there", verdict["calls"]),
        _same("requests made", figures.requests, "received there", verdict["terminate_requests"]),
        _same("call ids in them", figures.ids, "received there", verdict["terminate_ids"]),
        _same("calls stopped, confirmed", figures.confirmed, "cut there", figures.cut),
        Entry(
            "calls missed",
            figures.missed,
            f"dialled before the request arrived; {asked:,} with the confirmed, every decision has its outcome",
            figures.other_outcomes == 0 and figures.ending == 0,
        ),
        Entry(
            "requests for the campaign",
            stop.requests,
            f"for {stop.calls:,} waiting calls: ⌈{stop.calls:,}/{IDS_IN_A_REQUEST}⌉ = {least}"
            + (f" ({stop.came_later} more calls came back to the queue later)" if stop.came_later else ""),
            stop.requests == least and stop.calls > 0,
        ),
        Entry(
            "dialled in spite of it",
            stop.dialled_late,
            f"waiting calls dialled more than {HEEDED_SECONDS:g} s after the order",
            stop.dialled_late == 0,
        ),
        _none("live calls cut", verdict["live_calls_cut"]),
        _none("calls nobody ordered", verdict["terminated_unordered"]),
        _none("requests over the rate", verdict["requests_over_rate"]),
        _none("calls asked for needlessly", verdict["needless_ids"] + verdict["duplicate_ids"]),
        _none("ordered calls still waiting", verdict["ordered_still_terminable"]),
        _none("other violations", len(verdict["violations"])),
    ]


def _same(what: str, ours: int, theirs_is: str, theirs: int) -> Entry:
    return Entry(what, ours, f"{theirs:,} {theirs_is}", ours == theirs)


def _none(what: str, count: int) -> Entry:
    return Entry(what, count, "says the provider", count == 0)
