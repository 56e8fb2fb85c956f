"""Accepting: whose datagram is this, and what to do with a stranger's first one."""

from __future__ import annotations

import os
import socket
from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from transport import routes
from transport.config import QuicConfig
from transport.door import Door, source_of
from transport.handshake import KeyLog
from transport.identity import SecretKey
from transport.loop import SocketLoop
from transport.quic import QuicPeer

VERSIONS = QuicConfiguration(is_client=False).supported_versions


class Acceptor(SocketLoop):
    """The half of an endpoint that is dialled."""

    def __init__(self, key: SecretKey, sock: socket.socket, config: QuicConfig) -> None:
        super().__init__(key, sock, config)
        self._retry = QuicRetryTokenHandler()
        self._door = Door()
        self._unproven: set[QuicPeer] = set()

    def _peer_for(self, data: bytes, address: tuple[Any, ...], now: float) -> QuicPeer | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=8)
        except Exception:  # ValueError by its contract; a datagram must not stop the node if that is not all
            self.counters["garbage datagrams"] += 1
            return None
        peer = self._routes.get(header.destination_cid)
        if peer is not None:
            return peer
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION or header.version is None:
            self.counters["unroutable datagrams"] += 1
            return None
        if header.version not in VERSIONS:
            self.counters["refused: unknown QUIC version"] += 1
            if len(data) >= routes.SMALLEST:
                self._send_raw(
                    encode_quic_version_negotiation(
                        source_cid=header.destination_cid,
                        destination_cid=header.source_cid,
                        supported_versions=VERSIONS,
                    ),
                    address,
                )
            return None
        if header.packet_type != QuicPacketType.INITIAL or len(data) < routes.SMALLEST:
            self.counters["unroutable datagrams"] += 1
            return None
        return self._accept(header, address, now, len(data))

    def _accept(self, header: Any, address: tuple[Any, ...], now: float, length: int) -> QuicPeer | None:
        original, retry_source = header.destination_cid, None
        if self._stopping:
            return None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=address, destination_cid=header.destination_cid, token=header.token, now=now
                )
            except ValueError:
                self.counters["refused: bad retry token"] += 1
                return None
            retry_source = header.destination_cid
        source = source_of(str(address[0]))
        answer = self._door.answer(source, connections=len(self._peers), validated=retry_source is not None)
        if answer == "retry":
            self._ask_to_retry(header, address, now)
            return None
        if answer != "accept":
            self.counters[f"refused: {answer}"] += 1
            return None
        keylog = KeyLog()
        size = self._sizes.of(address, now)
        if self.engine.pads:
            size = min(size, length)  # a dialler that has found the path to be narrow begins small
        try:
            quic = self.engine.connection(
                configuration=self._configuration(keylog, is_client=False, size=size),
                original_destination_connection_id=original,
                retry_source_connection_id=retry_source,
            )
        except Exception:  # what the engine makes of a stranger's first datagram is no reason to stop
            self.counters["engine failures"] += 1
            return None
        peer = self._new_peer(quic, keylog, address, wanted=None, size=size)
        peer.source = source
        self._peers.add(peer)
        self._unproven.add(peer)
        self._door.enter(source)
        self.route(header.destination_cid, peer)
        self.route(quic.host_cid, peer)
        self.counters["accepted"] += 1
        return peer

    def _ask_to_retry(self, header: Any, address: tuple[Any, ...], now: float) -> None:
        """Have the sender show that it receives what is sent to its address; nothing is remembered."""
        source = os.urandom(8)
        token = self._retry.create_token(
            address=address,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source,
            now=now,
        )
        self._send_raw(
            encode_quic_retry(
                version=header.version,
                source_cid=source,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            ),
            address,
        )
        self.counters["retries"] += 1

    def _no_longer_unproven(self, peer: QuicPeer) -> None:
        if peer in self._unproven:
            self._unproven.discard(peer)
            self._door.prove(peer.source)
