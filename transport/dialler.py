"""Dialling: several places side by side, one handshake at a time with one peer, few at one place."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from transport import handshake, routes
from transport.address import HostPort, PeerAddr
from transport.config import QuicConfig
from transport.errors import DialError, ProofFailed, Unreachable, VersionMismatch, WrongIdentity
from transport.handshake import KeyLog
from transport.identity import PeerId, SecretKey
from transport.link import Connection, Replaced
from transport.loop import SocketLoop
from transport.quic import (
    CODE_DUPLICATE,
    CODE_GIVEN_UP,
    CODE_NO_ALPN,
    CODE_REFUSED,
    CODE_WRONG_IDENTITY,
    QuicPeer,
)

LARGE_FIRST = 0.6
"""Part of the time for a handshake after which TLS with large datagrams is given up for a try with the smallest."""
DIALS_PER_PLACE = 2
"""Dials under way to one host and port at most, the others wait: whoever invents peers and says that all live at a victim's
address does not turn this node against the victim."""
STAGGER = 0.25
"""Seconds between the endpoints of one peer that are dialled (RFC 8305, section 8)."""


class Dialler(SocketLoop):
    """The half of an endpoint that dials."""

    def __init__(self, key: SecretKey, sock: socket.socket, config: QuicConfig) -> None:
        super().__init__(key, sock, config)
        self._dials: dict[PeerId, anyio.Event] = {}
        self._replaced = Replaced()
        self._places: dict[tuple[Any, ...], tuple[anyio.Semaphore, int]] = {}

    async def connect(self, addr: PeerAddr, *, timeout: float = 10) -> Connection:
        if addr.peer_id == self.peer_id:
            raise DialError(f"{addr.peer_id.short} is this node itself")
        if self._stopping:
            raise DialError(f"cannot reach {addr.peer_id.short}: this node has stopped")
        reason: DialError | None = None
        with anyio.move_on_after(timeout):
            while True:
                await anyio.lowlevel.checkpoint()
                if (live := self._live.get(addr.peer_id)) is not None:
                    return live
                if await self._replaced.wait(addr.peer_id):
                    continue
                if (dialling := self._dials.get(addr.peer_id)) is not None:
                    await dialling.wait()  # somebody else is at it
                    if addr.peer_id not in self._live and reason is None:
                        reason = Unreachable(f"cannot reach {addr.peer_id.short}: another attempt has just failed")
                        continue
                else:
                    self._dials[addr.peer_id] = done = anyio.Event()
                    try:
                        return await self._dial_any(addr)
                    except DialError as error:
                        reason = error
                    finally:
                        del self._dials[addr.peer_id]
                        done.set()
                if addr.peer_id not in self._live:
                    raise reason or Unreachable(f"cannot reach {addr.peer_id.short}")
        where = ", ".join(map(str, addr.endpoints))
        raise reason or Unreachable(f"cannot reach {addr.peer_id.short} at {where}: no answer within {timeout:g} s")

    async def _dial_any(self, addr: PeerAddr) -> Connection:
        """Dial every endpoint, each a moment after the one before; the first that answers as the peer is taken.

        Source: RFC 8305 ("Happy Eyeballs"), section 5: a dead address must not hold up those behind it.
        """
        problems: list[DialError] = []
        found: list[Connection] = []
        async with anyio.create_task_group() as tasks:

            async def attempt(where: HostPort, failed: anyio.Event) -> None:
                try:
                    found.append(await self._dial(addr.peer_id, where))
                except DialError as error:
                    problems.append(error)
                    failed.set()
                else:
                    tasks.cancel_scope.cancel()

            for where in addr.endpoints:
                failed = anyio.Event()
                tasks.start_soon(attempt, where, failed, name=f"dial {where}")
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
        if (live := self._live.get(addr.peer_id)) is not None:
            return live
        if found:
            return found[0]
        raise next((problem for problem in problems if not isinstance(problem, Unreachable)), problems[0])

    async def _dial(self, peer_id: PeerId, where: HostPort) -> Connection:
        name = f"{peer_id.short} at {where}"
        try:
            found = await anyio.getaddrinfo(where.host, where.port, family=self._sock.family, type=socket.SOCK_DGRAM)
            address = routes.socket_address(found[0][4])
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"cannot reach {name}: {getattr(error, 'strerror', None) or error}") from None
        async with self._place(address):
            timeout = self._config.handshake_timeout
            size = self._sizes.of(address, anyio.current_time())
            silence = timeout * LARGE_FIRST if size > routes.SMALLEST else timeout
            peer = await self._shake_hands(peer_id, address, size, timeout, silence)
            if peer.end_code == CODE_GIVEN_UP and not peer.private and size > routes.SMALLEST:
                peer = await self._shake_hands(peer_id, address, routes.SMALLEST, timeout - silence, timeout)
                if peer.proven:
                    self._lower(address)
        if peer.proven and peer.ended is None:
            return peer
        if (live := self._live.get(peer_id)) is not None:
            return live
        reason, code = peer.ended or "", peer.end_code
        if code == CODE_WRONG_IDENTITY:
            raise WrongIdentity(f"{where} is another peer: {reason}")
        if code == CODE_NO_ALPN or "ALPN" in reason:
            known = ", ".join(handshake.WIRE_VERSIONS)
            raise VersionMismatch(f"{where} speaks no version that this node knows ({known})")
        if code == CODE_REFUSED:
            raise ProofFailed(f"{where} refused this node: {reason}")
        if code == CODE_DUPLICATE:
            with anyio.move_on_after(1):  # the connection that stays is about to be proven
                while (live := self._live.get(peer_id)) is None:
                    await anyio.sleep(0.01)
                return live
        if code == CODE_GIVEN_UP:
            reason = f"no answer within {self._config.handshake_timeout:g} s"
        raise Unreachable(f"cannot reach {name}: {reason}")

    async def _shake_hands(
        self, peer_id: PeerId, address: tuple[Any, ...], size: int, timeout: float, silence: float
    ) -> QuicPeer:
        """A dialled connection that is proven, or over: after ``timeout``, or ``silence`` without TLS."""
        keylog = KeyLog()
        try:
            quic = self.engine.connection(configuration=self._configuration(keylog, is_client=True, size=size))
            quic.connect(address, now=anyio.current_time())
        except Exception as error:
            self.counters["engine failures"] += 1
            raise Unreachable(f"the QUIC engine failed: {type(error).__name__}: {error}") from error
        peer = self._new_peer(quic, keylog, address, wanted=peer_id, size=size)
        self._peers.add(peer)
        self.route(quic.host_cid, peer)
        self.mark(peer)
        try:
            with anyio.move_on_after(silence):
                await peer.settled.wait()
            if peer.private:
                with anyio.move_on_after(timeout - silence):
                    await peer.settled.wait()
        finally:
            if not peer.proven:
                peer.close("the dial was given up", code=CODE_GIVEN_UP)
        return peer

    @asynccontextmanager
    async def _place(self, address: tuple[Any, ...]) -> AsyncIterator[None]:
        """A turn to dial ``address``; waits while enough others do."""
        turns, users = self._places.get(address, (anyio.Semaphore(DIALS_PER_PLACE), 0))
        self._places[address] = (turns, users + 1)
        try:
            async with turns:
                await anyio.lowlevel.checkpoint_if_cancelled()  # a turn that comes with the end of our time is not used
                yield
        finally:
            turns, users = self._places.pop(address)
            if users > 1:
                self._places[address] = (turns, users - 1)
