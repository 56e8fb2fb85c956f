"""Releases that speak different versions of the wire meet on one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.transport.support import MAIN, PATIENCE, until
from transport import Endpoint, QuicTransport, SecretKey, VersionMismatch, endpoint, handshake
from transport.endpoint import QuicEndpoint

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def speaking(monkeypatch: pytest.MonkeyPatch, *spoken: tuple[str, ...]) -> AsyncIterator[list[Endpoint]]:
    """Endpoints of several releases, each of which speaks versions of the wire of its own."""

    class OfARelease(QuicEndpoint):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.number = len(made)

        def _configuration(self, *args: Any, **kwargs: Any) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(handshake, "WIRE_VERSIONS", spoken[self.number])
                return super()._configuration(*args, **kwargs)

    made: list[Endpoint] = []
    monkeypatch.setattr(endpoint, "QuicEndpoint", OfARelease)
    async with AsyncExitStack() as stack:
        for _ in spoken:
            made.append(await stack.enter_async_context(QuicTransport().bind(SecretKey.generate(), listen=MAIN)))
        yield made


async def test_a_peer_of_another_version_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(PATIENCE):
        async with speaking(monkeypatch, ("p2praft/2",), ("p2praft/1",)) as (a, b):
            with pytest.raises(VersionMismatch, match="speaks no version that this node knows"):
                await a.connect(b.address)
            assert not b.connections


async def test_two_releases_speak_the_newest_version_that_both_know(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, newest = ("p2praft/1",), ("p2praft/2", "p2praft/1"), ("p2praft/3", "p2praft/2")
    with anyio.fail_after(PATIENCE):
        async with speaking(monkeypatch, old, new, newest, new) as (a, b, c, d):
            for dialler, acceptor, spoken in [
                (a, b, "p2praft/1"),
                (b, c, "p2praft/2"),
                (d, a, "p2praft/1"),
                (c, d, "p2praft/2"),
                (b, d, "p2praft/2"),
            ]:
                connection = await dialler.connect(acceptor.address)
                assert connection.wire == spoken
                await until(lambda acceptor=acceptor, dialler=dialler: dialler.peer_id in acceptor.connections)  # type: ignore[misc]
                assert acceptor.connections[dialler.peer_id].wire == spoken
