"""A box between a dialler and a node, as the internet has them: it forwards, and misbehaves as it is told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from transport import HostPort, PeerAddr
from transport.tasks import owned_tasks


class Relay:
    """Forwards datagrams between one dialler and one node.

    Args:
        target: Where the node is.

    Attributes:
        where: What the dialler dials.
        limit: Bytes beyond which datagrams vanish, by direction; None lets all pass.
        dropped: How many vanished.
        cut: Whether nothing passes at all.
    """

    def __init__(self, target: HostPort) -> None:
        self.limit: dict[str, int | None] = {"there": None, "back": None}
        self.dropped = 0
        self.cut = False
        self._target = (target.host, target.port)
        self._dialler: tuple[str, int] | None = None
        self._front = _socket()
        self._back = _socket()
        self.where = HostPort(*self._front.getsockname())

    def rebind(self) -> None:
        """Forget the mapping, as a NAT does: from now on the node sees another source port."""
        old, self._back = self._back, _socket()
        anyio.notify_closing(old)
        old.close()

    async def run_front(self) -> None:
        """What comes from the dialler."""
        while True:
            await anyio.wait_readable(self._front)
            data, self._dialler = self._front.recvfrom(65536)
            if self._passes(data, "there"):
                self._back.sendto(data, self._target)

    async def run_back(self) -> None:
        """What comes from the node."""
        while True:
            sock = self._back
            try:
                await anyio.wait_readable(sock)
                data = sock.recv(65536)
            except (anyio.ClosedResourceError, OSError):
                await anyio.lowlevel.checkpoint()
                continue
            if self._dialler is not None and self._passes(data, "back"):
                self._front.sendto(data, self._dialler)

    def close(self) -> None:
        """Give the sockets back."""
        self._front.close()
        self._back.close()

    def _passes(self, data: bytes, direction: str) -> bool:
        limit = self.limit[direction]
        passes = not self.cut and (limit is None or len(data) <= limit)
        self.dropped += not passes
        return passes


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
    sock.bind(("127.0.0.1", 0))
    return sock


@asynccontextmanager
async def relay(target: PeerAddr) -> AsyncIterator[Relay]:
    """A relay in front of a node."""
    made = Relay(target.endpoints[0])
    try:
        async with owned_tasks() as tasks:
            tasks.start_soon(made.run_front)
            tasks.start_soon(made.run_back)
            yield made
    finally:
        made.close()


def through(box: Relay, target: PeerAddr) -> PeerAddr:
    """The node's address by way of the relay."""
    return PeerAddr(target.peer_id, (box.where,))
