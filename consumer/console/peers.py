"""Asking the other processes of the installation over HTTP, at the read-only routes that each of them serves for it.

A process is asked by the name of its node; another one that has taken over its address says that it is not meant, and so
never answers for it.
"""

from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from consumer.kafka.members import Member

PREFIX = "/internal/v1"
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class PeerError(Exception):
    """A process did not say what was asked; the message says who and why, and asking again may help."""


class Peers:
    """The HTTP client. ``authorization`` is what shows that we belong to the same installation."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(headers={"Authorization": self._authorization})

    async def stop(self) -> None:
        if self._session:
            await self._session.close()

    async def ask(self, member: Member, *path: str, within_seconds: float) -> dict[str, Any]:
        """Give what a process answers under ``/internal/v1``.

        Raises:
            PeerError: it cannot be reached, does not answer in time, or says no.

        """
        if self._session is None or member.url is None:
            raise PeerError(f"worker {member.node} does not say where it answers HTTP")
        where = "/".join((member.url + PREFIX, *(quote(part, safe="") for part in path)))
        try:
            async with self._session.get(
                URL(where, encoded=True).with_query(node=member.node),
                timeout=aiohttp.ClientTimeout(total=within_seconds),
                allow_redirects=False,
            ) as answer:
                return _read(answer.status, await _body(answer))
        except TimeoutError as error:
            raise PeerError(f"{_name(member)} does not answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError, TypeError) as error:
            raise PeerError(f"{_name(member)} cannot be asked: {str(error) or type(error).__name__}") from error
        except PeerError as error:
            raise PeerError(f"{_name(member)} says: {error}") from error


def _name(member: Member) -> str:
    return f"worker {member.node} at {member.url}"


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if answer.content_length is None or answer.content_length > MAX_ANSWER_BYTES:
        raise ValueError("its answer is too long or of unknown length")
    return await answer.read()


def _read(status: int, raw: bytes) -> dict[str, Any]:
    """Give an answer's object."""
    value = orjson.loads(raw)
    if not isinstance(value, dict):
        raise TypeError("its answer is no object")
    if status != 200:
        raise PeerError(f"{value.get('detail') or value.get('title') or 'no reason'} (HTTP {status})")
    return value
