"""What APIs that name their things in the path share: one id to a segment, and answers that are JSON objects."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from consumer.model.provider import BatchOfCallIds, HttpResponse, NotUnderstood, UnsafeRequest, WholeScope
from consumer.model.scopes import ScopeKind


def path_part(value: str | None, what: str, refused: frozenset[str] = frozenset()) -> str:
    """Quote an id so that it stays one segment of the path, whatever stands in it.

    Args:
        value: the id.
        what: what it names, for the error.
        refused: words that mean another endpoint in this place.

    Raises:
        UnsafeRequest: empty, one of ``refused``, or ``.`` and ``..``, which a client resolves even when quoted.

    """
    if not value or value in {".", ".."} or value.lower() in refused:
        raise UnsafeRequest(f"{value!r} cannot be {what}: in a path it would mean something else")
    return quote(value, safe="")


def only_call_id(batch: BatchOfCallIds) -> str:
    """Take the one call of a batch.

    Raises:
        UnsafeRequest: the batch names several; these APIs stop one call a request.

    """
    if len(batch.call_ids) != 1:
        raise UnsafeRequest(f"this provider stops one call a request, not {len(batch.call_ids)}")
    return batch.call_ids[0]


def campaign_of(whole: WholeScope) -> str | None:
    """Take the campaign of a scope that is a campaign and nothing else.

    Raises:
        UnsafeRequest: another kind of scope.

    """
    if whole.scope.kind is not ScopeKind.CAMPAIGN:
        raise UnsafeRequest(f"this provider cannot stop a whole {whole.scope.kind}, only a campaign")
    return whole.scope.campaign_id


def json_object(response: HttpResponse) -> Mapping[str, Any]:
    """Parse an answer that is an object.

    Raises:
        NotUnderstood: it is not JSON, or something else.

    """
    try:
        body = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise NotUnderstood(f"the answer is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise NotUnderstood("the answer is not a JSON object")
    return body


def count(value: Any) -> int | None:
    """Take a count that an answer reports; None for anything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
