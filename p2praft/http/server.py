"""The listening socket, and uvicorn as a task of the node's own event loop."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from uvicorn.protocols.http.h11_impl import H11Protocol

from p2praft.errors import BindError, ConfigError
from p2praft.http.app import create_app
from p2praft.http.feed import EventLog
from p2praft.network import Network
from transport import HostPort

CONNECTIONS = 256
"""Clients at once; more are told to come back (503)."""
HEADER_TIME = 10.0
"""Seconds that a client has from connecting, or from its last request, to a whole request's headers."""
FAREWELL = 2
"""Seconds that running requests get when the node stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """Where and for whom the API is served.

    Attributes:
        listen: TCP address; port 0 takes a free one.
        token: What callers must know; needed anywhere but on loopback.

    Raises:
        ConfigError: No token beyond loopback.
    """

    listen: HostPort = HostPort("127.0.0.1", 8600)
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.listen.host):
            raise ConfigError(
                f"the API at {self.listen} could be asked by anybody who reaches this machine: give it a token "
                f"(--api-token-file FILE), or let it listen on loopback (127.0.0.1:{self.listen.port})"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def serve_api(
    network: Network, config: ApiConfig, *, task_status: TaskStatus[HostPort] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Serve the API and the dashboard until cancelled; the task's status is the address that is bound.

    It needs the asyncio back end, for uvicorn does; :func:`~p2praft.http.create_app` needs neither.

    Raises:
        BindError: The address cannot be listened on.
    """
    with contextlib.closing(_bind(config.listen)) as sock:
        events = EventLog(network)
        server = _Server(
            uvicorn.Config(
                create_app(network, events, token=config.token),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level=logging.CRITICAL,  # what clients do wrong is their business, and ours is logged elsewhere
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=int(HEADER_TIME),
                timeout_graceful_shutdown=FAREWELL,
            )
        )
        name = sock.getsockname()
        async with anyio.create_task_group() as tasks:
            await tasks.start(events.run)
            tasks.start_soon(_run, server, sock)
            try:
                task_status.started(HostPort(name[0], name[1]))
                await anyio.sleep_forever()
            finally:
                server.should_exit = True


async def _run(server: uvicorn.Server, sock: socket.socket) -> None:
    # Shielded: uvicorn's tasks are its own, and only its orderly end leaves none behind. That end is bounded.
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[sock])


def _bind(listen: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listen.host, listen.port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise BindError(
            f"the API cannot listen on {listen}: {error.strerror}; is another node's API there? Port 0 takes a free one"
        ) from None
    return sock


class _Server(uvicorn.Server):
    """One that leaves the process's signals alone: they are the node's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """One that does not wait for ever for a request's headers."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEADER_TIME, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:  # a whole request's headers; a piece of them buys no time
            self._patience.cancel()

    def on_response_complete(self) -> None:
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before:
            self._patience = self.loop.call_later(HEADER_TIME, self.transport.close)
