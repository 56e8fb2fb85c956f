"""An attacker's tools: QUIC by hand over a real socket, with no manners.

A :class:`RawPeer` does what it is told: it speaks any version, proves anything to anybody or nothing at all, and writes any bytes
on any stream. It runs on aioquic's sans-I/O core, as client or as server.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import msgpack
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import pull_quic_header

from tests.transport.support import ECHO, MAIN, Say, until
from transport import Endpoint, HostPort, PeerAddr, PeerId, QuicConfig, QuicTransport, SecretKey
from transport.endpoint import QuicEndpoint
from transport.engine import SERVER_NAME
from transport.handshake import ACCEPTOR, ALPN, DIALLER, PROOF, KeyLog, Proof, make_proof
from transport.local import certificate
from transport.quic_link import OPEN, control
from transport.tasks import owned_tasks
from transport.wire import Protocol

Address = tuple[Any, ...]


class RawPeer:
    """One QUIC connection of the attacker's.

    Attributes:
        key: Its own identity.
        received: Bytes by stream.
        finished: Streams whose end came.
        ended: Why the other side closed the connection, and its error code.
        binding: Of the TLS session, once there is one.
    """

    def __init__(self, *, alpn: list[str] | None = None, host: str = "127.0.0.1") -> None:
        self.key = SecretKey.generate()
        self.received: dict[int, bytearray] = defaultdict(bytearray)
        self.finished: set[int] = set()
        self.ended: tuple[str, int] | None = None
        self.binding = b""
        self.sent_bytes = self.received_bytes = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((host, 0))
        self.where = HostPort(*self.sock.getsockname())
        self._alpn = [ALPN] if alpn is None else alpn
        self._quic: QuicConnection | None = None
        self._log = KeyLog()
        self._peer: Address = ()
        self._stream = 0

    # --- QUIC

    @property
    def quic(self) -> QuicConnection:
        """The engine's connection."""
        assert self._quic is not None
        return self._quic

    def dial(self, where: HostPort) -> None:
        """Begin a handshake as client."""
        configuration = QuicConfiguration(
            alpn_protocols=self._alpn or None, verify_mode=0, secrets_log_file=self._log, server_name=SERVER_NAME
        )
        self._quic = QuicConnection(configuration=configuration)
        self._peer = (where.host, where.port)
        self._quic.connect(self._peer, now=anyio.current_time())
        self.flush()

    async def run(self) -> None:
        """Read the socket and mind the timers."""
        while True:
            timer = self._quic.get_timer() if self._quic else None
            with anyio.move_on_at(float("inf") if timer is None else timer):
                await anyio.wait_readable(self.sock)
            while True:
                try:
                    data, address = self.sock.recvfrom(65536)
                except OSError:
                    break
                self.received_bytes += len(data)
                if self._quic is None:
                    self._accept(data, address)
                self.quic.receive_datagram(data, address, now=anyio.current_time())
            if self._quic is not None:
                timer = self._quic.get_timer()
                if timer is not None and timer <= anyio.current_time():
                    self._quic.handle_timer(now=anyio.current_time())
                self._take_events()
                self.flush()

    def flush(self) -> None:
        """Send what QUIC has to send."""
        for data, address in self.quic.datagrams_to_send(now=anyio.current_time()):
            self.sent_bytes += len(data)
            self.sock.sendto(data, address)

    def _accept(self, data: bytes, address: Address) -> None:
        header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        configuration = QuicConfiguration(is_client=False, alpn_protocols=self._alpn, secrets_log_file=self._log)
        configuration.certificate, configuration.private_key = certificate()
        self._quic = QuicConnection(
            configuration=configuration, original_destination_connection_id=header.destination_cid
        )
        self._peer = address

    def _take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self.received[event.stream_id] += event.data
                if event.end_stream:
                    self.finished.add(event.stream_id)
            elif isinstance(event, events.HandshakeCompleted):
                self.binding = self._log.channel_binding()
            elif isinstance(event, events.ConnectionTerminated):
                self.ended = (event.reason_phrase, event.error_code)

    # --- what it says

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Write any bytes on any stream."""
        self.quic.send_stream_data(stream, data, end_stream=fin)
        self.flush()

    def proof(self, wanted: PeerId, *, role: bytes = DIALLER, binding: bytes | None = None, **changes: Any) -> Proof:
        """A proof of its own identity; or something like one."""
        binding = self.binding if binding is None else binding
        made = make_proof(self.key, role=role, binding=binding, remote=wanted, instance=b"attacker")
        return replace(made, **changes)

    async def connected(self) -> None:
        """Wait until the TLS handshake is complete."""
        await until(lambda: bool(self.binding) or self.ended is not None)
        assert self.binding, self.ended

    async def prove(self, wanted: PeerId, **how: Any) -> None:
        """Send a proof once there is a TLS session."""
        await self.connected()
        self.send(0, PROOF.encode(self.proof(wanted, **how)))

    async def proven(self) -> Proof:
        """Wait for the other side's proof."""
        await until(lambda: len(self.received[0]) > 100 or self.ended is not None)
        assert self.received[0], self.ended
        first = 4 + int.from_bytes(self.received[0][:4], "big")  # a probe of the path may have come with it
        proof = PROOF.decode(bytes(self.received[0][4:first]))
        assert isinstance(proof, Proof)
        return proof

    def open(self, protocol: Protocol | str) -> int:
        """Open a link; its stream."""
        self._stream += 4
        stream = self._stream
        self.send(stream, control(OPEN, protocol if isinstance(protocol, str) else protocol.name))
        return stream

    async def end(self) -> tuple[str, int]:
        """Wait until the other side has closed the connection: why, and the error code."""
        await until(lambda: self.ended is not None)
        assert self.ended is not None
        return self.ended

    def close_reason(self, stream: int) -> str:
        """Why the other side closed a link, from its last frame."""
        data = bytes(self.received[stream])
        reason = ""
        while len(data) >= 4:
            length = int.from_bytes(data[:4], "big")
            payload, data = data[4 : 4 + length], data[4 + length :]
            if payload[:3] == b"\x93\x00\x02":
                reason = msgpack.unpackb(payload)[2]
        return reason


@asynccontextmanager
async def raw(**settings: Any) -> AsyncIterator[RawPeer]:
    """An attacker's connection, not yet dialled: until somebody dials it, or it does."""
    peer = RawPeer(**settings)
    try:
        async with owned_tasks() as tasks:
            tasks.start_soon(peer.run)
            yield peer
    finally:
        peer.sock.close()


@asynccontextmanager
async def insider(target: Endpoint, **settings: Any) -> AsyncIterator[RawPeer]:
    """An attacker that has proven an identity to ``target``, as anybody can."""
    async with raw(**settings) as peer:
        peer.dial(target.address.endpoints[0])
        await peer.prove(target.peer_id)
        await peer.proven()
        yield peer


@asynccontextmanager
async def node(config: QuicConfig | None = None, *, listen: HostPort = MAIN) -> AsyncIterator[QuicEndpoint]:
    """An honest node that echoes."""
    config = config or QuicConfig(handshake_timeout=20)  # on a busy machine an attack may take its time
    async with QuicTransport(config).bind(SecretKey.generate(), listen=listen) as endpoint:
        assert isinstance(endpoint, QuicEndpoint)
        endpoint.serve(ECHO, _echo)
        yield endpoint


async def _echo(link: Any) -> None:
    while True:
        await link.send(await link.receive())


async def serves_others(target: Endpoint, *, listen: HostPort = MAIN) -> bool:
    """Whether a newcomer still gets its echo."""
    async with node(listen=listen) as newcomer:
        link = await (await newcomer.connect(target.address)).open(ECHO)
        await link.send(Say(number=4))
        said: bool = await link.receive() == Say(number=4)
    return said


def lured(victim: PeerId, attacker: RawPeer) -> PeerAddr:
    """The address of an honest peer that leads to the attacker."""
    return PeerAddr(victim, (attacker.where,))


__all__ = ["ACCEPTOR", "ALPN", "DIALLER", "RawPeer", "insider", "lured", "node", "raw", "serves_others"]
