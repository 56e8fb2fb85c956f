"""Both transports behind one door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from tests.transport.support import MAIN, need
from transport import Endpoint, HostPort, MemoryNetwork, QuicConfig, QuicTransport, SecretKey, Transport
from transport.engine import EngineName


class World:
    """Binds endpoints that can reach each other, over one of the transports.

    Args:
        make: The transport of the n-th node and where it listens.
    """

    def __init__(self, kind: str, make: Callable[[int], tuple[Transport, HostPort]]) -> None:
        self.kind = kind
        self._make = make
        self._count = 0

    def bind(
        self, key: SecretKey | None = None, *, advertise: Sequence[HostPort] = ()
    ) -> AbstractAsyncContextManager[Endpoint]:
        """A new node's endpoint."""
        self._count += 1
        transport, listen = self._make(self._count)
        return transport.bind(key or SecretKey.generate(), listen=listen, advertise=advertise)


ENGINES: dict[str, Sequence[EngineName]] = {
    "quic": ["aioquic"],
    "qh3": ["qh3"],
    "quic and qh3": ["aioquic", "qh3"],
    "qh3 and quic": ["qh3", "aioquic"],
}
"""Who has which QUIC engine, in turns."""


@pytest.fixture(params=[*ENGINES, "memory"])
def world(request: pytest.FixtureRequest) -> World:
    """Over QUIC on loopback, by either engine and with both mixed, and in memory."""
    if request.param == "memory":
        network = MemoryNetwork()
        return World("memory", lambda number: (network.transport(f"host-{number}"), HostPort(f"host-{number}", 0)))
    engines = ENGINES[request.param]
    need(*engines)
    return World("quic", lambda number: (QuicTransport(QuicConfig(engine=engines[number % len(engines)])), MAIN))
