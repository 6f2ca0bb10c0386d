"""A connection that has just been lost, as uvloop tells of it.

asyncio takes what is written to a transport that is closed, and the loss shows with the next read. uvloop raises RuntimeError
instead, which aiokafka 0.14 does not expect: the consumer's background task dies of it, or a request fails for good, where a
broker was killed in the wrong millisecond. To us it is what it is, a lost connection.
"""

from collections.abc import Awaitable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


@wraps(_send)
def _send_or_lose(connection: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Awaitable[Any]:
    try:
        return _send(connection, request, expect_response)  # type: ignore[no-any-return]  # aiokafka ships no types
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection to the broker is lost: {error}") from error


def take_closed_for_lost() -> None:
    """Have every connection of this process tell of it as of any other loss."""
    AIOKafkaConnection.send = _send_or_lose
