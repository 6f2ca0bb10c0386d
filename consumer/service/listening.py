"""Listening for HTTP: how a server treats its connections, and on which port it is, alone or with its workers."""

import os
import socket

from aiohttp import web

DRAIN_SECONDS = 10.0
"""For webhooks that are on their way; what else is asked then has ``CLOSE_SECONDS`` more."""
CLOSE_SECONDS = 2.0
KEEPALIVE_SECONDS = 15.0


class ListenError(Exception):
    """The address for HTTP cannot be listened on."""


def runner_of(application: web.Application) -> web.AppRunner:
    """Make what serves an application; it must be set up."""
    return web.AppRunner(
        application,
        keepalive_timeout=KEEPALIVE_SECONDS,
        access_log=None,
        auto_decompress=False,
        max_line_size=8190,
        max_field_size=8190,
        shutdown_timeout=CLOSE_SECONDS,
    )


async def listen(runner: web.AppRunner, host: str, port: int, *, tries: int = 1, shared: bool = False) -> int:
    """Listen on ``port``, or on one of the following; gives the port taken. ``shared``: others may ``join`` later.

    Raises:
        ListenError: none of them can be had.

    """
    last: OSError | None = None
    for candidate in range(port, port + tries):
        try:
            if shared:
                _refuse_taken(host, candidate)
            await web.TCPSite(runner, host, candidate, reuse_port=shared or None).start()
        except OSError as error:
            last = error
        else:
            return int(runner.addresses[0][1])
    ports = f"port {port}" if tries == 1 else f"the ports {port} to {port + tries - 1}"
    raise ListenError(
        f"{ports} on {host} cannot be listened on: {os.strerror(last.errno) if last and last.errno else last}. "
        "End what listens there, or set http.port and http.host (CALLBREAKER__HTTP__PORT) to another address."
    ) from last


async def join(runner: web.AppRunner, host: str, port: int) -> None:
    """Listen on a port that another process of ours shares (SO_REUSEPORT): the kernel spreads new connections."""
    await web.TCPSite(runner, host, port, reuse_port=True).start()


def _refuse_taken(host: str, port: int) -> None:
    """Raise ``OSError`` where somebody listens: a port that is shared would be shared with any process of this user."""
    if not port:
        return
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
