"""A load generator that costs little: prebuilt HTTP/1.1 requests over kept-alive connections, answers counted by status."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Load:
    """What was answered, and how long each answer took (seconds)."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def per_second(self) -> float:
        return self.statuses[200] / self.elapsed if self.elapsed else 0.0


class _Connection(asyncio.Protocol):
    """One connection with one request in flight. Answers are small and come whole with Content-Length."""

    def __init__(self, make_request: Callable[[], bytes], load: Load, until: float) -> None:
        self._make_request = make_request
        self._load = load
        self._until = until
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        now = time.perf_counter()
        self._load.statuses[int(head[9:12])] += 1
        self._load.seconds.append(now - self._sent_at)
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._make_request())


async def drive(port: int, make_request: Callable[[], bytes], *, connections: int, seconds: float) -> Load:
    """Send requests to 127.0.0.1:``port`` over ``connections`` connections for ``seconds``."""
    load = Load()
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    protocols = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(
            lambda: _Connection(make_request, load, started + seconds), "127.0.0.1", port
        )
        protocols.append(protocol)
    await asyncio.wait_for(asyncio.gather(*(protocol.done for protocol in protocols)), seconds + 15)
    load.elapsed = time.perf_counter() - started
    return load
