"""A small protocol, handlers for it, and waiting for what must come to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import anyio
import pytest

from transport import Endpoint, HostPort, Link, PeerAddr, Protocol
from transport.engine import EngineName
from transport.wire import Range, Size

MAIN = HostPort("127.0.0.1", 0)
PATIENCE = 30
"""Seconds after which a test is taken to hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A message for tests."""

    number: Annotated[int, Range(0, 1_000_000)] = 0
    data: Annotated[bytes, Size(0, 60_000)] = b""


ECHO = Protocol(name="test echo/1", messages={1: Say}, max_frame=64 * 1024)
SINK = Protocol(name="test sink/1", messages={1: Say}, max_frame=4096, window=16 * 1024)


async def echo(link: Link) -> None:
    """Sends back whatever comes."""
    while True:
        await link.send(await link.receive())


class Links:
    """A handler that keeps its links for the test to play with."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self._release = anyio.Event()

    async def __call__(self, link: Link) -> None:
        self.links.append(link)
        await self._release.wait()

    async def wait_first(self) -> Link:
        """The first link that came."""
        await until(lambda: bool(self.links))
        return self.links[0]

    def release(self) -> None:
        """Let the handlers return."""
        self._release.set()


def need(*engines: EngineName) -> None:
    """Skip the test if one of these QUIC engines is not installed."""
    if "qh3" in engines:
        pytest.importorskip("qh3", reason="the extra `fast` is not installed")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; a test's own bound ends the wait."""
    while not condition():
        await anyio.sleep(0.002)


def at(address: PeerAddr, endpoint: Endpoint) -> PeerAddr:
    """The address of a peer that is said to be where ``endpoint`` is."""
    return PeerAddr(address.peer_id, endpoint.address.endpoints)
