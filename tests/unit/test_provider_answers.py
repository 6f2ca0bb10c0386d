from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from consumer.model.provider import BatchOfCallIds, HistoryQuery, HttpResponse, UnsafeRequest
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass
from handlers.providers.revenueable import Revenueable
from handlers.providers.ringg import Ringg
from handlers.providers.table import PROVIDERS
from tests.unit.values import account

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def response(status: int, body: Any = b"", **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, raw, NOW.timestamp())


@pytest.mark.parametrize("provider", [Ringg(), Revenueable()])
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        *((status, AnswerClass.ACCEPTED) for status in (200, 201, 202, 204)),
        *((status, AnswerClass.CONFIGURATION) for status in (301, 302, 307, 308, 405, 410, 418)),
        (400, AnswerClass.POISON),
        (401, AnswerClass.CREDENTIALS),
        (402, AnswerClass.PERMISSION),
        (403, AnswerClass.PERMISSION),
        (404, AnswerClass.NOT_FOUND),
        (408, AnswerClass.UNKNOWN),
        (409, AnswerClass.CONFLICT),
        (413, AnswerClass.POISON),
        (422, AnswerClass.POISON),
        (429, AnswerClass.THROTTLED),
        *((status, AnswerClass.UNKNOWN) for status in (500, 502, 503, 504, 599)),
    ],
)
def test_every_status_has_its_class(provider: Ringg, status: int, answer: AnswerClass) -> None:
    assert provider.understand(response(status, {"message": "why"})).answer is answer


@pytest.mark.parametrize(
    "body",
    [
        {"message": "No terminable calls found for the specified parameters"},
        {"detail": "no terminable calls found"},
        {"error": {"message": "NO TERMINABLE CALLS"}},
        b"No terminable calls found for the specified parameters",
    ],
)
def test_nothing_to_terminate_is_an_answer_and_no_error(body: Any) -> None:
    assert Ringg().understand(response(400, body)).answer is AnswerClass.NONE_TERMINABLE
    assert Ringg().understand(response(500, body)).answer is AnswerClass.UNKNOWN


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("17", 17.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("999999", 900.0),
        ("9" * 400, 900.0),
        (format_datetime(NOW.replace(second=30), usegmt=True), 30.0),
        (format_datetime(NOW.replace(hour=11), usegmt=True), 0.0),
        (format_datetime(NOW.replace(year=2027), usegmt=True), 900.0),
        ("Thu, 01 Jan 2026 12:00:10", 10.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Thu, 01 Jan 99999 12:00:00 GMT", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_both_forms_and_has_a_bound(status: int, given: str, seconds: float | None) -> None:
    assert Ringg().understand(response(status, b"", retry_after=given)).retry_after_seconds == seconds


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[1]", b'{"message": 5}', b"x" * 10_000, b'{"message": "' + b"y" * 500 + b'"}']
)
def test_whatever_the_provider_writes_is_shortened_to_a_line(body: bytes) -> None:
    assert len(Ringg().understand(response(500, body)).detail) <= 200


@pytest.mark.parametrize("before", range(170, 201, 3))
@pytest.mark.parametrize("whole", ["%s", '{"message": "%s"}', '{"error": {"message": "%s"}}'])
def test_a_number_is_masked_before_what_the_provider_writes_is_cut(whole: str, before: int) -> None:
    body = (whole % ("y" * (before - 1) + " +4915112345678")).encode()
    assert "151123" not in Ringg().understand(response(500, body)).detail


def test_a_request_goes_to_the_accounts_own_address_with_its_key() -> None:
    batch = BatchOfCallIds.of(["a"], 100)
    default = Ringg().terminate(account(), batch)
    assert (default.method, default.url) == ("PATCH", "https://prod-api.ringg.ai/ca/api/v0/campaign/terminate")
    assert default.headers["X-API-KEY"] == "key-of-the-account"
    own = Ringg().terminate(account(base_url="http://127.0.0.1:8090/api"), batch)
    assert own.url == "http://127.0.0.1:8090/api/campaign/terminate"
    split = Revenueable().terminate(account(provider="revenueable"), batch)
    assert split.url == "https://prod-api.revenueable.ai/ca/api/v0/campaign/terminate/calls"
    assert "key-of-the-account" not in repr(split)


@pytest.mark.parametrize("ids", [[], ["a", "a"], ["a", ""], [str(n) for n in range(101)]])
def test_a_batch_that_must_not_leave_cannot_be_made(ids: list[str]) -> None:
    with pytest.raises(UnsafeRequest):
        BatchOfCallIds.of(ids, 100)


def test_the_table_names_each_provider_by_its_own_name() -> None:
    assert {"ringg", "revenueable"} <= set(PROVIDERS)
    assert all(provider.name == name for name, provider in PROVIDERS.items())


def test_a_row_of_the_history_is_another_event_where_its_listing_names_the_campaign() -> None:
    row = {"id": "call-1", "status": "registered", "created_at": "2026-05-01T10:00:00+00:00"}
    page = response(200, {"calls": [row], "total": 1})
    queries = (HistoryQuery(statuses=(Status.REGISTERED,)), HistoryQuery(campaign_id="campaign-1"))
    (one,), (two,) = (Ringg().read_history(account(), query, page).events for query in queries)
    assert (one.campaign_id, two.campaign_id) == (None, "campaign-1")
    assert one.event_id != two.event_id
