"""``explain``: the API's answer about a call, told as a story."""

from typing import Any

from consumer.commands.story import headline, story

ORDER = {
    "order_id": "op-1",
    "who": "ops",
    "by": "operator",
    "reason": "wrong price list",
    "scope": "campaign c-1",
    "created_at": "2026-05-01T10:00:01.000Z",
}


def _event(second: float, kind: str, status: str | None, offset: int, **more: Any) -> dict[str, Any]:
    at = f"2026-05-01T10:00:{second:06.3f}Z"
    return {
        "event_id": f"e-{offset}",
        "type": kind,
        "status": status,
        "attempt": 0,
        "at": at,
        "logged_at": at,
        "source": "webhook",
        "analysis": {},
        "evidence": {"topic": "call-events", "partition": 3, "offset": offset},
        **more,
    }


def _termination(**more: Any) -> dict[str, Any]:
    return {
        "termination_id": "t-1",
        "episode": 0,
        "outcome": "confirmed",
        "orders": ["op-1"],
        "mode": "enforce",
        "decided_at": "2026-05-01T10:00:01.010Z",
        "status_when_decided": "registered",
        "requests": [
            {
                "request_id": "abcdef0123456789",
                "n": 1,
                "at": "2026-05-01T10:00:01.020Z",
                "calls_in_request": 100,
                "answer": "accepted",
                "http_status": 200,
                "detail": "",
                "answered_at": "2026-05-01T10:00:01.060Z",
            }
        ],
        "ended": {
            "status": "cancelled",
            "at": "2026-05-01T10:00:00.500Z",
            "source": "webhook",
            "evidence": {"topic": "call-events", "partition": 3, "offset": 9},
        },
        "detail": "",
        "missed_by_seconds": None,
        **more,
    }


def _call(*terminations: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "account": "acme-ringg",
        "call_id": "call-1",
        "status": "cancelled",
        "attempt": 0,
        "terminable": False,
        "campaign_id": "c-1",
        "agent_id": None,
        "number": "+918882876897",
        "history": history,
        "terminations": list(terminations),
        "orders": [ORDER],
    }


STOPPED = _call(_termination(), history=[_event(0.0, "queued", "registered", 4), _event(1.08, "other", "cancelled", 9)])


def test_a_stopped_call_is_told_from_its_first_event_to_its_confirmation() -> None:
    lines = story(STOPPED)
    assert [line.what for line in lines] == ["event", "decided", "request", "answer", "event", "ended"]
    assert lines[0].text == "queued → registered"
    assert "operator ops ordered to stop campaign c-1, “wrong price list” [op-1]" in lines[1].text
    assert lines[2].text == "request 1 to the provider, with 99 other calls"
    assert lines[3].text == "accepted (HTTP 200)"
    assert lines[5].text == "confirmed: stopped; the call is cancelled"


def test_the_end_is_when_its_event_was_written_whatever_the_providers_clock_says() -> None:
    last = story(STOPPED)[-1]
    assert last.at.isoformat() == "2026-05-01T10:00:01.080000+00:00"
    assert last.detail == "webhook call-events/3@9"


def test_a_missed_call_says_by_how_much() -> None:
    missed = _termination(
        outcome="missed", missed_by_seconds=0.04, ended={**_termination()["ended"], "status": "ongoing"}
    )
    last = story(_call(missed, history=[_event(1.08, "started", "ongoing", 9)]))[-1]
    assert last.text.startswith("missed: not stopped: the call left the queue before the request could reach it")
    assert "(by 0.04 s); the call is ongoing" in last.text


def test_a_request_without_an_answer_is_told_without_one() -> None:
    unanswered = {**_termination()["requests"][0], "answered_at": None, "answer": None, "calls_in_request": 1}
    lines = story(_call(_termination(outcome="requested", requests=[unanswered], ended=None), history=[]))
    assert [(line.what, line.text) for line in lines[1:]] == [("request", "request 1 to the provider")]


def test_findings_of_an_analysis_are_shown_and_texts_are_not() -> None:
    event = _event(1, "analysis", None, 5, analysis={"opt_out": True, "summary": "a long text"})
    assert story(_call(history=[event]))[0].text == "analysis (opt_out: True)"


def test_the_headline_masks_the_number() -> None:
    facts = dict(headline(STOPPED))
    assert facts["number"] == "•••6897"
    assert facts["status"] == "cancelled, attempt 1"
    assert facts["stopped"] == "confirmed (attempt 1)"


def test_a_call_that_nobody_wanted_stopped_says_so() -> None:
    assert dict(headline(_call(history=[])))["stopped"] == "no; nothing was decided about it"


def test_a_request_for_the_attempt_before_is_told_as_what_it_is() -> None:
    (request,) = _termination()["requests"]
    shared = request | {"n": 0, "answer": "unknown", "detail": "the request for its episode before may have stopped it"}
    call = {"history": [], "orders": [ORDER], "terminations": [_termination(requests=[shared, request])]}
    told = [(line.what, line.text) for line in story(call) if line.what in {"request", "answer"}]
    assert told == [
        ("request", "not asked for again at once: the request for the attempt before may have stopped it"),
        ("request", "request 1 to the provider, with 99 other calls"),
        ("answer", "accepted (HTTP 200)"),
    ]
