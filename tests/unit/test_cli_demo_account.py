"""The demo's account: what must agree, and what shows when it does not."""

from dataclasses import replace
from typing import Any

from consumer.demo.account import Entry, account, campaign_stop
from consumer.demo.figures import Figures

VERDICT: dict[str, Any] = {
    "webhooks_accepted": 900,
    "webhooks_waiting": 0,
    "calls": 300,
    "calls_by_status": {"completed": 180, "failed": 10, "cancelled": 110},
    "terminate_requests": 4,
    "terminate_ids": 115,
    "live_calls_cut": 0,
    "terminated_unordered": 0,
    "requests_over_rate": 0,
    "needless_ids": 0,
    "duplicate_ids": 0,
    "ordered_still_terminable": 0,
    "violations": {},
}
FIGURES = Figures(
    webhooks_taken=900,
    calls_seen=300,
    waiting=0,
    stopped_by_opt_out=5,
    requests=4,
    ids=115,
    confirmed=110,
    missed=5,
    ending=0,
    other_outcomes=0,
    verdict=VERDICT,
)


def _terminations(count: int, *, evidence: bool = False, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "call_id": f"call-{number}",
            "evidence": [{"topic": "call-events"}] if evidence else [],
            "requests": [_request(f"{'late' if evidence else 'bulk'}-{number // 100}")],
        }
        for number in range(first, first + count)
    ]


def _request(request_id: str, answer: str = "accepted") -> dict[str, Any]:
    return {"request_id": request_id, "answer": answer}


def _wrong(entries: list[Entry]) -> list[str]:
    return [entry.what for entry in entries if not entry.agrees]


def test_the_least_requests_for_the_waiting_calls_add_up() -> None:
    stop = campaign_stop([*_terminations(110), *_terminations(3, evidence=True, first=500)], 0)
    assert (stop.calls, stop.requests, stop.came_later) == (110, 2, 3)
    assert _wrong(account(FIGURES, stop)) == []


def test_a_call_that_came_back_while_its_request_travelled_is_one_call() -> None:
    came_back = [t | {"evidence": [{"topic": "call-events"}]} for t in _terminations(3)]
    came_back[0] = came_back[0] | {"requests": []}
    came_back[1] = came_back[1] | {"requests": [_request("bulk-0"), _request("late-0")]}
    stop = campaign_stop([*_terminations(110), *came_back], 0)
    assert (stop.calls, stop.requests, stop.came_later) == (110, 2, 0)


def test_a_request_that_stayed_since_a_call_in_it_was_dialled_is_none() -> None:
    waiting = _terminations(62)
    for t in waiting[1:]:
        t["requests"] = [_request("stayed", "not_sent"), *t["requests"]]
    waiting[0]["requests"] = [_request("stayed", "not_sent")]
    stop = campaign_stop(waiting, 0)
    assert (stop.calls, stop.requests, stop.came_later) == (61, 1, 0)


def test_one_request_too_many_is_wrong() -> None:
    split = _terminations(110)
    split[0]["requests"] = [_request("one-more")]
    assert _wrong(account(FIGURES, campaign_stop(split, 0))) == ["requests for the campaign"]


def test_a_campaign_in_which_nothing_was_stopped_is_wrong() -> None:
    assert _wrong(account(FIGURES, campaign_stop([], 0))) == ["requests for the campaign"]


def test_calls_dialled_long_after_the_order_are_wrong() -> None:
    assert _wrong(account(FIGURES, campaign_stop(_terminations(110), 7))) == ["dialled in spite of it"]


def test_what_the_provider_counts_otherwise_is_wrong() -> None:
    stop = campaign_stop(_terminations(110), 0)
    lost = replace(FIGURES, webhooks_taken=899, confirmed=109)
    assert _wrong(account(lost, stop)) == ["webhooks taken", "calls stopped, confirmed"]
    cut = replace(FIGURES, verdict=VERDICT | {"live_calls_cut": 1, "violations": {"live_calls_cut": 1}})
    assert _wrong(account(cut, stop)) == ["live calls cut", "other violations"]


def test_an_unsettled_decision_is_wrong() -> None:
    stop = campaign_stop(_terminations(110), 0)
    assert _wrong(account(replace(FIGURES, ending=1), stop)) == ["calls missed"]
    assert _wrong(account(replace(FIGURES, other_outcomes=1), stop)) == ["calls missed"]


def test_settled_is_when_nothing_is_on_its_way_on_either_side() -> None:
    assert FIGURES.settled
    assert not replace(FIGURES, waiting=1).settled
    assert not replace(FIGURES, verdict=VERDICT | {"webhooks_waiting": 1}).settled
    assert not replace(FIGURES, verdict=VERDICT | {"calls_by_status": {"ongoing": 1}}).settled
