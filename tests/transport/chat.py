"""A protocol to speak, and two QUIC endpoints of which the second echoes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from transport import Endpoint, HostPort, Link, Protocol, QuicConfig, QuicTransport, SecretKey
from transport.wire import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A message."""

    text: Annotated[str, Size(0, 100_000)]


CHAT = Protocol(name="chat/1", messages={1: Say}, max_frame=20_000, window=64_000)


def bind(key: SecretKey | None = None, *, config: QuicConfig | None = None) -> AbstractAsyncContextManager[Endpoint]:
    """An endpoint on loopback."""
    return QuicTransport(config).bind(key or SecretKey.generate(), listen=HostPort("127.0.0.1", 0))


async def echo(link: Link) -> None:
    """Say everything back."""
    while True:
        await link.send(await link.receive())


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    """Two endpoints; the second echoes."""
    async with bind() as one, bind() as other:
        other.serve(CHAT, echo)
        yield one, other
