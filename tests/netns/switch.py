"""``python -m tests.netns.switch PORT…``: a switch in user space that delays, loses, reorders and cuts what passes it.

It stands where ``tc netem`` would: not every kernel has that, and a cable that is pulled on one side, or a NAT that forgets, is
no matter of a queue anyway. It joins the far ends of the hosts' veth pairs, frame by frame, through packet sockets.
Orders are lines of JSON on standard input; each is answered by one on standard output once it is in force.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

ETH_P_ALL = 3
ETH_P_IP = 0x0800
PACKET_OUTGOING = 4
UDP = 17
REORDER_BY = 0.05
"""Seconds that a frame that is reordered comes late."""


@dataclass(slots=True)
class Path:
    """How frames fare from every port to every other.

    Attributes:
        delay: Seconds each way.
        loss: Of 1, each way.
        reorder: Of 1, each way: so many come late.
    """

    delay: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0


@dataclass(slots=True)
class Nat:
    """Rewrites one host's UDP source port, and lets in only what answers.

    Attributes:
        inside: The host's port.
        outside: What others see instead.
        talked: Whom the host has sent to since the last rebinding, as (address, port) in bytes.
    """

    inside: int
    outside: int
    talked: set[bytes] = field(default_factory=set)


class Switch:
    """Frames between ports.

    Args:
        names: The interfaces that are its ports.
        seed: Of its dice.
    """

    def __init__(self, names: list[str], seed: int) -> None:
        self._rng = random.Random(seed)
        self._sockets = {name: _packet_socket(name) for name in names}
        self._macs: dict[bytes, str] = {}
        self._path = Path()
        self._cut: set[tuple[str, str]] = set()
        self._nats: dict[str, Nat] = {}
        self._ticket = count()
        self._late: list[tuple[float, int, str, bytes]] = []

    def run(self) -> None:
        """Switch until standard input ends."""
        with selectors.DefaultSelector() as selector:
            for name, sock in self._sockets.items():
                selector.register(sock, selectors.EVENT_READ, name)
            selector.register(0, selectors.EVENT_READ, None)
            while True:
                wait = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
                for key, _ in selector.select(wait):
                    if key.data is None:
                        if not self._obey(os.read(0, 65536)):
                            return
                    else:
                        self._read(key.data)
                now = time.monotonic()
                while self._late and self._late[0][0] <= now:
                    _, _, to, frame = heapq.heappop(self._late)
                    self._send(to, frame)

    # --- orders

    def _obey(self, data: bytes) -> bool:
        for line in data.splitlines():
            order = json.loads(line)
            match order:
                case {"path": path}:
                    self._path = Path(**path)
                case {"cut": pairs}:
                    self._cut = {(source, to) for source, to in pairs}
                case {"nat": [name, inside, outside]}:
                    self._nats[name] = Nat(inside, outside)
            print(json.dumps({"done": True}), flush=True)
        return bool(data)

    # --- frames

    def _read(self, port: str) -> None:
        for _ in range(64):
            try:
                frame, address = self._sockets[port].recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:
                continue  # the interface is down for the moment
            if address[2] != PACKET_OUTGOING and len(frame) >= 14:
                self._switch(port, frame)

    def _switch(self, port: str, frame: bytes) -> None:
        self._macs[frame[6:12]] = port
        if (at := _udp(frame)) is not None:
            # A kernel leaves checksums to its network card, and here is none. IPv4 allows UDP without.
            frame = frame[: at + 6] + b"\0\0" + frame[at + 8 :]
        if port in self._nats:
            frame = self._outbound(self._nats[port], frame)
        known = self._macs.get(frame[:6])
        for to in [known] if known else [name for name in self._sockets if name != port]:
            if to != port and (port, to) not in self._cut:
                self._forward(to, frame)

    def _forward(self, to: str, frame: bytes) -> None:
        path = self._path
        if path.loss and self._rng.random() < path.loss:
            return
        if to in self._nats:
            inbound = self._inbound(self._nats[to], frame)
            if inbound is None:
                return
            frame = inbound
        late = path.delay + (REORDER_BY if path.reorder and self._rng.random() < path.reorder else 0.0)
        if late:
            heapq.heappush(self._late, (time.monotonic() + late, next(self._ticket), to, frame))
        else:
            self._send(to, frame)

    def _send(self, to: str, frame: bytes) -> None:
        try:
            self._sockets[to].send(frame)
        except OSError:
            return  # the interface is down, its queue is full, or its MTU is smaller: lost, without a word

    # --- NAT

    def _outbound(self, nat: Nat, frame: bytes) -> bytes:
        at = _udp(frame)
        if at is None or struct.unpack_from(">H", frame, at)[0] != nat.inside:
            return frame
        nat.talked.add(frame[30:34] + frame[at + 2 : at + 4])
        return _with_port(frame, at, nat.outside)

    def _inbound(self, nat: Nat, frame: bytes) -> bytes | None:
        at = _udp(frame)
        if at is None:
            return frame
        answers = frame[26:30] + frame[at : at + 2] in nat.talked
        if not answers or struct.unpack_from(">H", frame, at + 2)[0] != nat.outside:
            return None
        return _with_port(frame, at + 2, nat.inside)


def _udp(frame: bytes) -> int | None:
    """Where the UDP header stands in a frame; None if it holds none."""
    if struct.unpack_from(">H", frame, 12)[0] != ETH_P_IP or len(frame) < 42 or frame[23] != UDP:
        return None
    return 14 + (frame[14] & 15) * 4


def _with_port(frame: bytes, at: int, port: int) -> bytes:
    """The frame with a UDP port rewritten; its checksum is gone already."""
    return frame[:at] + struct.pack(">H", port) + frame[at + 2 :]


def _packet_socket(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((name, 0))
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    return sock


def main(arguments: Any) -> None:
    """Switch between the named interfaces."""
    switch = Switch(arguments, seed=1)
    print(json.dumps({"done": True}), flush=True)
    switch.run()


if __name__ == "__main__":
    main(sys.argv[1:])
