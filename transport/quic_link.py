"""A link on a QUIC connection: one stream, with frames and a window of its own.

The QUIC engine grants flow-control credit as data arrives, not as it is read, and does not bound what is queued: a
sender may have ``protocol.window`` bytes unread at the other end, and no more.

Frames with message number 0 are the link's own: ``[0, 0, name]`` opens it, ``[0, 1, bytes]`` grants credit, ``[0, 2, reason]``
ends it.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import msgpack

from transport.errors import LinkClosed, LinkFull, WireError
from transport.link import Link
from transport.wire import Protocol, unpack

if TYPE_CHECKING:
    from transport.quic import QuicPeer

OPEN, CREDIT, CLOSE = 0, 1, 2
CONTROL_FRAME = 1024
"""Bytes of a link's own frames at most."""
MAX_REASON = 400
"""Characters of a close reason at most."""
FRAME_GRACE = 10.0
"""Seconds that a frame, once begun, may take, however short it is; also the one that opens a link."""
FRAME_RATE = 512
"""Bytes a second of a longer frame at least, after that."""

PROBE = Protocol(name="?", messages={}, max_frame=CONTROL_FRAME)
"""Stands in until a link that the peer opens has said its protocol."""


class QuicLink(Link):
    """One bidirectional QUIC stream.

    At most ``protocol.window`` received bytes wait unread; a peer that sends more than it was granted is cut off.
    """

    def __init__(self, connection: QuicPeer, stream: int, protocol: Protocol, *, dialled: bool) -> None:
        self.connection: QuicPeer = connection
        self.stream = stream
        self.protocol = protocol
        self.peer_id = connection.peer_id
        self.dialled = dialled
        self._opened = dialled
        self._buffer = bytearray()
        self._inbox: deque[bytes] = deque()
        self._unread = 0
        self._owed = 0
        self._credit = protocol.window
        self._reason: str | None = None
        self._fin_sent = False
        self._fin_received = False
        self._arrived: anyio.Event | None = None
        self._room: anyio.Event | None = None
        self._stalled: tuple[float, int] | None = None

    @property
    def closed(self) -> bool:
        return self._reason is not None

    @property
    def receiving(self) -> bool:
        return bool(self._buffer)

    @property
    def close_reason(self) -> str | None:
        return self._reason

    async def send(self, message: Any) -> None:
        # Queued before others may run, not after: an answer then shares its datagram with the acknowledgement.
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                self.send_nowait(message)
                return await anyio.lowlevel.cancel_shielded_checkpoint()
            except LinkFull:
                self._room = self._room or anyio.Event()
                await self._room.wait()

    def send_nowait(self, message: Any) -> None:
        if self._reason is not None:
            raise LinkClosed(self._reason)
        frame = self.protocol.encode(message)
        if len(frame) > self._credit:
            raise LinkFull(f"{self.peer_id.short} has {self.protocol.window} bytes of {self.protocol.name} unread")
        self._credit -= len(frame)
        self.connection.write(self.stream, frame)

    async def receive(self) -> Any:
        if self._inbox or self._reason is not None:
            await anyio.lowlevel.checkpoint()  # before anything is taken: a cancelled receive loses no message
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                self._arrived = self._arrived or anyio.Event()
                await self._arrived.wait()

    def receive_nowait(self) -> Any:
        if not self._inbox:
            if self._reason is not None:
                raise LinkClosed(self._reason)
            raise anyio.WouldBlock
        payload = self._inbox.popleft()
        self._account(len(payload) + 4)
        try:
            return self.protocol.decode(payload)
        except WireError as error:
            self._reject(str(error))
            raise LinkClosed(self._reason or "") from None

    def hold(self) -> None:
        self.connection.held = True

    def flush(self) -> None:
        self.connection.endpoint.flush(self.connection)

    def close(self, reason: str = "") -> None:
        if self._reason is None:
            reason = (reason or "closed")[:MAX_REASON]
            self._send_fin(control(CLOSE, reason))
            self.finish(reason)

    # --- for the connection

    def take(self, data: bytes, *, fin: bool) -> None:
        """Bytes came."""
        self._fin_received = fin
        self._buffer += data
        while self._reason is None and len(self._buffer) >= 4:
            (length,) = struct.unpack_from(">I", self._buffer)
            if length > max(self.protocol.max_frame, CONTROL_FRAME):
                self._reject(f"a frame of {length} bytes; {self.protocol.name} allows {self.protocol.max_frame}")
                return
            if len(self._buffer) < 4 + length:
                break
            payload = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            self._stalled = None
            self._on_frame(payload)
        if self._reason is None and self._unread + len(self._buffer) > self.protocol.window + CONTROL_FRAME:
            self._reject("more was sent than the window allows")
        if fin and self._reason is None:
            if self._buffer:
                self._reject("the last frame is truncated")
            else:
                self._end("the peer ended the link")

    def look(self, now: float) -> None:
        """End the link if a frame that has begun comes too slowly (a byte a second, for instance)."""
        if not self._buffer and self._opened:
            self._stalled = None
        elif self._stalled is None:
            self._stalled = (now, len(self._buffer))
        else:
            since, had = self._stalled
            if len(self._buffer) - had < FRAME_RATE * (now - since - FRAME_GRACE):
                self.connection.endpoint.counters["slow senders"] += 1
                self._reject("it came too slowly")

    def finish(self, reason: str) -> None:
        """The link is over; what was received before can still be read."""
        if self._reason is not None:
            return
        self._reason = reason
        self._buffer.clear()
        self.connection.forget(self, fin_received=self._fin_received)
        self._wake()

    # --- inner workings

    def _on_frame(self, payload: bytes) -> None:
        if len(payload) >= 2 and payload[0] & 0xF0 == 0x90 and payload[1] == 0:
            self._on_control(payload)
        elif not self._opened:
            self._reject("a link opens with its protocol's name")
        else:
            self._unread += len(payload) + 4
            self._inbox.append(payload)
            if self._sink is not None:
                self._pour()
                if self._then is not None:
                    self.connection.endpoint.after_step(self._then)
            elif self._arrived is not None:
                self._arrived.set()
                self._arrived = None

    def _on_control(self, payload: bytes) -> None:
        try:
            frame = unpack(payload, CONTROL_FRAME)
        except WireError as error:
            self._reject(str(error))
            return
        match frame:
            case [0, 0, str(name)] if not self._opened:
                self._opened = True
                self.connection.endpoint.on_link(self, name)
            case [0, 1, int(count)] if self._opened and 0 < count <= self.protocol.window - self._credit:
                self._credit += count
                if self._room is not None:
                    self._room.set()
                    self._room = None
            case [0, 2, str(reason)] if len(reason) <= MAX_REASON:
                self._end(reason)
            case _:
                self._reject("a link's own frame that makes no sense")

    def adopt(self, protocol: Protocol) -> None:
        """The peer has said what it speaks."""
        self.protocol = protocol
        self._credit = protocol.window

    def _account(self, count: int) -> None:
        self._unread -= count
        self._owed += count
        if self._owed >= self.protocol.window // 4 and self._reason is None:
            self.connection.write(self.stream, control(CREDIT, self._owed))
            self._owed = 0

    def _reject(self, problem: str) -> None:
        """The peer broke the rules: this link ends, every other goes on."""
        self.connection.endpoint.counters["bad frame"] += 1
        self._inbox.clear()
        self.close(f"bad frame: {problem}")

    def _end(self, reason: str) -> None:
        self._send_fin(b"")
        self.finish(reason)

    def _send_fin(self, data: bytes) -> None:
        if not self._fin_sent:
            self._fin_sent = True
            self.connection.write(self.stream, data, fin=True)

    def _wake(self) -> None:
        for event in (self._arrived, self._room):
            if event is not None:
                event.set()
        self._arrived = self._room = None


def control(kind: int, value: str | int) -> bytes:
    """One of the link's own frames."""
    payload: bytes = msgpack.packb([0, kind, value])
    return struct.pack(">I", len(payload)) + payload
