"""Pages of a list: newest first, continued by an opaque cursor that stays valid while the list grows."""

import base64
import binascii
from difflib import get_close_matches

import orjson
from aiohttp import web

from consumer.console.problems import ProblemError

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
Key = tuple[float, str]


def known_query(request: web.Request, *names: str) -> None:
    """Refuse a parameter that the list does not have: a filter with a typing error in it must not give everything.

    Raises:
        ProblemError: 422, at the first unknown name.

    """
    known = (*names, "limit", "cursor")
    for name in request.query:
        if name not in known:
            near = get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ProblemError(
                422, "cannot be read", f"{name[:50]}: there is no such parameter; {remedy}", field=name[:50]
            )


def page_size(request: web.Request) -> int:
    """Read ``limit``; 50 by default, at most 500."""
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 5) or not 1 <= int(text) <= MAX_LIMIT:
        raise ProblemError(422, "cannot be read", f"limit: a whole number from 1 to {MAX_LIMIT}", field="limit")
    return int(text)


def encode(key: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode(text: str | None) -> Key | None:
    """Read a cursor; None where the list begins."""
    if not text:
        return None
    try:
        at, name = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return float(at), str(name)
    except (ValueError, TypeError, binascii.Error) as error:
        raise ProblemError(422, "cannot be read", "cursor: not one that this list has given", field="cursor") from error
