"""Which datagram size the path to a host takes: what the route says, and what has turned out.

A route's MTU is what the next hop takes. A tunnel further on may take less, and drop what is larger without a word (a black
hole). Then small datagrams pass and large ones vanish, for as long as they are repeated. Two things tell: a handshake that
comes to nothing with large first datagrams and succeeds with small ones, and a probe on a proven connection (see
:meth:`~transport.quic.QuicPeer.mind_path`) that stays unanswered while pings are answered.
"""

from __future__ import annotations

from typing import Any

from transport import routes
from transport.routes import SMALLEST

FORGET = 600.0
"""Seconds after which a host's path is trusted anew: routes change."""
MAX_HOSTS = 4096
"""Hosts that are remembered."""


class Sizes:
    """Datagram sizes by host.

    Args:
        most: Never more than this; None for what the route says.
        family: The socket's address family.
    """

    def __init__(self, most: int | None, family: int) -> None:
        self._most = most
        self._family = family
        self._routes: dict[str, int] = {}
        self._narrow: dict[str, float] = {}

    def of(self, address: tuple[Any, ...], now: float) -> int:
        """Payload bytes of a datagram to ``address`` at most."""
        host = str(address[0])
        if (since := self._narrow.get(host)) is not None:
            if now - since < FORGET:
                return SMALLEST
            del self._narrow[host]
            self._routes.pop(host, None)
        if self._most is not None:
            return self._most
        if host not in self._routes:
            if len(self._routes) >= MAX_HOSTS:
                self._routes.clear()
            self._routes[host] = routes.datagram_size(address, self._family)
        return self._routes[host]

    def lower(self, address: tuple[Any, ...], now: float) -> None:
        """The path to ``address`` takes less than was thought."""
        if len(self._narrow) >= MAX_HOSTS:
            self._narrow.clear()
        self._narrow[str(address[0])] = now
