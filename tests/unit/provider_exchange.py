"""What tests of providers share: a request sent over HTTP as it is, ids of every kind, and answers made by hand."""

from typing import Any
from urllib.parse import unquote

import orjson
from hypothesis import strategies as st
from yarl import URL

from consumer.model.accounts import Account
from consumer.model.provider import HttpRequest, HttpResponse
from consumer.model.scopes import MAX_ID_BYTES
from tests.unit.simulated_provider_stage import API_KEY, Stage
from tests.unit.values import account

NOW = 1_767_268_800.0
"""2026-01-01T12:00:00Z."""

ANY_ID = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
        lambda text: bool(text.strip()) and len(text.encode()) <= MAX_ID_BYTES
    ),
    st.lists(
        st.sampled_from(["..", ".", "/", "a", "stop", "%2F", "%2e", "?", "#", "active", ";", "\\", "&", "="]),
        min_size=1,
        max_size=6,
    ).map("".join),
)


def answer(status: int, body: Any, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, NOW)


def account_at(stage: Stage, **given: Any) -> Account:
    """The account of the played provider."""
    return account(base_url=stage.simulator.base_url, api_key=API_KEY, **given)


async def send(stage: Stage, request: HttpRequest) -> HttpResponse:
    async with stage.http.request(
        request.method, request.url, headers=dict(request.headers), data=request.body, allow_redirects=False
    ) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, headers, await response.read(), stage.simulator.now())


def path_sent(request: HttpRequest) -> tuple[str, ...]:
    """The segments of the path that a client really sends, each unquoted; there is no query and no fragment."""
    url = URL(request.url)
    assert not url.raw_query_string
    assert not url.raw_fragment
    return tuple(unquote(part) for part in url.raw_parts[1:])
