"""What HTTP statuses mean where a provider's page says nothing of its own."""

from datetime import UTC
from email.utils import parsedate_to_datetime

import orjson

from consumer.model.masking import MASK
from consumer.model.provider import Answer, HttpResponse
from consumer.model.terminations import AnswerClass

LONGEST_RETRY_AFTER_SECONDS = 900.0
LONGEST_MESSAGE = 200
LONGEST_LOOKED_AT = 2_000
BY_STATUS = {
    400: AnswerClass.POISON,
    401: AnswerClass.CREDENTIALS,
    402: AnswerClass.PERMISSION,
    403: AnswerClass.PERMISSION,
    404: AnswerClass.NOT_FOUND,
    408: AnswerClass.UNKNOWN,
    409: AnswerClass.CONFLICT,
    413: AnswerClass.POISON,
    422: AnswerClass.POISON,
    429: AnswerClass.THROTTLED,
}


def by_status(response: HttpResponse, detail: str) -> Answer:
    """Class a response by its status; whatever is not known to be harmless may have had an effect."""
    wait = retry_after_seconds(response)
    if 200 <= response.status < 300:
        return Answer(AnswerClass.ACCEPTED, detail)
    if 300 <= response.status < 400:
        return Answer(
            AnswerClass.CONFIGURATION, "the provider answered with a redirect, which is never followed with a key"
        )
    if response.status >= 500:
        return Answer(AnswerClass.UNKNOWN, detail, wait)
    return Answer(BY_STATUS.get(response.status, AnswerClass.CONFIGURATION), detail, wait)


def retry_after_seconds(response: HttpResponse) -> float | None:
    """Read Retry-After in both forms, seconds and date (RFC 9110, 10.2.3), capped at 15 minutes."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - response.received_at, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def message_in(body: bytes) -> str:
    """Find the human part of an answer, at most 200 characters of it."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return beginning(body[:LONGEST_LOOKED_AT].decode("utf-8", "replace"))
    if isinstance(parsed, dict):
        for name in ("message", "detail", "error"):
            value = parsed.get(name)
            if isinstance(value, str):
                return beginning(value)
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return beginning(value["message"])
    return beginning(body[:LONGEST_LOOKED_AT].decode("utf-8", "replace"))


def beginning(text: str) -> str:
    """Shorten a provider's words, masked first: what is cut in half would be known no more for what it is."""
    return MASK.text(text[:LONGEST_LOOKED_AT])[:LONGEST_MESSAGE]
