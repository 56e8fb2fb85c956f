"""One QUIC connection to one peer.

Around the QUIC engine's sans-I/O connection: datagrams and time go in, datagrams and events come out; the endpoint does
the rest. Stream 0 carries the proofs of identity, and nothing else is served before both hold; at the end it carries a goodbye.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from transport import handshake
from transport.address import HostPort
from transport.errors import LinkClosed, WireError
from transport.handshake import ACCEPTOR, DIALLER, MAX_PROOF, PROOF, Goodbye, KeyLog, Probe, ProbeAnswer, Proof
from transport.identity import PeerId
from transport.link import Connection, Link
from transport.quic_link import MAX_REASON, OPEN, PROBE, QuicLink, control
from transport.routes import SMALLEST
from transport.wire import Protocol

if TYPE_CHECKING:
    from transport.endpoint import QuicEndpoint


CODE_NO_ALPN = 0x100 + 120
"""CRYPTO_ERROR with TLS's no_application_protocol (RFC 9001, section 4.8; RFC 7301)."""
CODE_CLOSED, CODE_PROTOCOL, CODE_REFUSED, CODE_DUPLICATE, CODE_WRONG_IDENTITY = 0, 1, 2, 3, 4
CODE_GIVEN_UP, CODE_BLACK_HOLE = 5, 6

MAX_LINKS = 90
"""Links that one side may have open on a connection; the next is refused where it would be opened."""
MAX_STREAMS = 128
"""Streams of the peer's that may be unfinished; a peer that opens more breaks the connection."""
MAX_EARLY = 64 * 1024
"""Bytes of links kept at the dialler until the acceptor's proof arrives; more breaks the connection."""
PROBE_INTERVAL = 30.0
"""Seconds between two probes of the path, if its datagrams are larger than QUIC's least."""
PROBE_PATIENCE = 1.5
"""Seconds, and at least eight round trips, after which a probe that stays unanswered while pings are answered is lost for good."""
PROBE_PINGS = 2
"""Times that pings must have been answered since: not at one go, as by a peer that was stopped and goes on."""
UNUSED = "nobody has used the connection for a while"
LINGER = 0.5
"""Seconds at most that a closed connection waits for the peer to have all that was sent."""


class QuicPeer(Connection):
    """A QUIC connection: unproven at first, then a :class:`Connection` to a known peer.

    Attributes:
        quic: The engine's connection.
        size: Bytes of its datagrams at most.
        ended: Why it is over; None while it lives.
        end_code: The application's error code that ended it, if one did.
        instance: The peer's process.
        proven_at: When both proofs held, or None.
        timer_at: When the endpoint's timer will look at it next.
        heard_at: When the last datagram came.
        pinged_at: When it was last asked for a sign of life.
        abandoned: Its end has come, or the QUIC engine failed on it: nothing goes in or out any more.
        wrote: Something was queued since datagrams were last made.
        owed: Bytes that were queued and may not have left, for the path or the peer takes no more now.
        full: The last datagram was, so that more of what was queued, or is to be sent again, is likely to wait.
        held: What is queued leaves with the next flush, which will come in this very step.
        send_by: When datagrams are to be made at the latest, if nothing is queued until then.
        source: Where an accepted connection came from, as it is counted.
        used_at: When its last link ended, or the proofs held.
        linger_until: While it is closed here and the peer is still to receive what was sent before: until when at most.
    """

    peer_id: PeerId

    def __init__(
        self,
        endpoint: QuicEndpoint,
        quic: Any,
        keylog: KeyLog,
        address: tuple[Any, ...],
        *,
        wanted: PeerId | None,
        size: int,
    ) -> None:
        self.endpoint = endpoint
        self.size = size
        self.binding = b""
        self.quic = quic
        self.address = address
        self.dialled = wanted is not None
        self.links: dict[int, QuicLink] = {}
        self._tails: set[int] = set()
        self.ended: str | None = None
        self.end_code: int | None = None
        self.instance = b""
        self.created_at = anyio.current_time()
        self.proven_at: float | None = None
        self.timer_at = float("inf")
        self.heard_at = self.created_at
        self.refused_at: float | None = None
        self.pinged_at = self.created_at
        self.abandoned = False
        self.wrote = self.held = self.full = False
        self.owed = 0
        self.send_by = float("inf")
        self.linger_until: float | None = None
        self.source = ""
        self.used_at = self.created_at
        self.settled = anyio.Event()
        self.cids: set[bytes] = set()
        self._wanted = wanted
        self._keylog = keylog
        self._sent = 0
        self._received = 0
        self._first_stream = bytearray()
        self._goodbye: Goodbye | None = None
        self._handling = False
        self._failure: Exception | None = None
        self._probed_at = self.created_at
        self._probing = False
        self._pongs = 0
        self._ponged = False
        self._early: list[tuple[int, bytes, bool]] = []
        self._done = anyio.Event()
        self._rtt: float | None = None
        self._pings: dict[int, float] = {}
        self._ping = 0

    @property
    def remote(self) -> HostPort:  # type: ignore[override]
        return HostPort(str(self.address[0]).partition("%")[0], self.address[1])

    @property
    def rtt(self) -> float | None:
        return self._rtt

    @property
    def datagram_size(self) -> int:
        return self.size

    @property
    def private(self) -> bool:
        """Whether TLS has made a private channel, so that proofs can be exchanged."""
        return bool(self.binding)

    @property
    def proven(self) -> bool:
        """Whether both proofs hold."""
        return self.proven_at is not None

    @property
    def at_rest(self) -> bool:
        """Whether it is proven, lives, and all that was queued has left."""
        return self.proven and not self.owed and not self.full and self.ended is None

    async def open(self, protocol: Protocol) -> Link:
        await anyio.lowlevel.checkpoint()
        if self.ended is not None:
            raise LinkClosed(self.ended)
        if sum(link.dialled for link in self.links.values()) >= MAX_LINKS:
            raise LinkClosed(f"{MAX_LINKS} links to {self.peer_id.short} are open already")
        stream = self.endpoint.ask_engine(self, "get_next_available_stream_id")
        if stream is None:
            raise LinkClosed(self.ended or "")
        link = self.links[stream] = QuicLink(self, stream, protocol, dialled=True)
        self.write(stream, control(OPEN, protocol.name))
        return link

    def close(self, reason: str = "", *, code: int = CODE_CLOSED) -> None:
        if self.ended is not None:
            return
        reason = (reason or "closed")[:MAX_REASON]
        if self.proven and self._sent and code in (CODE_CLOSED, CODE_DUPLICATE):
            self.write(0, PROOF.encode(Goodbye(code=code, reason=reason, sent=self._sent)))
            self.linger_until = anyio.current_time() + LINGER
            self.end(reason, code)
        else:
            self.endpoint.send_now(self)  # a proof may be on its way
            self.break_off(reason, code)

    async def wait_closed(self) -> str:
        await self._done.wait()
        return self.ended or ""

    # --- for the endpoint

    def break_off(self, reason: str, code: int = CODE_CLOSED) -> None:
        """End the connection at once, whatever is under way."""
        self.linger_until = None
        self.endpoint.ask_engine(self, "close", error_code=code, reason_phrase=reason)
        self.end(reason, code)

    def ping(self) -> None:
        """Ask for a sign of life; the answer measures the round trip."""
        self._ping += 1
        self.pinged_at = self._pings[self._ping] = anyio.current_time()
        if len(self._pings) > 8:
            del self._pings[min(self._pings)]
        self.endpoint.ask_engine(self, "send_ping", self._ping)

    def forget(self, link: QuicLink, *, fin_received: bool) -> None:
        """A link is over here; what the peer may still send on its stream is dropped."""
        if self.links.pop(link.stream, None) is not None and not fin_received:
            self._tails.add(link.stream)
        if not self.links:
            self.used_at = anyio.current_time()

    def mind_path(self, now: float) -> None:
        """Find out whether datagrams of our size arrive, at the start and now and then; if not, have smaller ones used.

        Source: RFC 8899 ("Datagram PLPMTUD"), section 4.3, black hole detection. What is lost for other reasons QUIC
        sends again, so a probe that stays away while pings come back can only be too large.
        """
        if self._ponged:
            self._pongs, self._ponged = self._pongs + 1, False
        if not self._probing:
            if self.size > SMALLEST and now - self._probed_at >= PROBE_INTERVAL:
                self.probe_path(now)
        elif self._pongs >= PROBE_PINGS and now - self._probed_at > max(PROBE_PATIENCE, 8 * (self._rtt or 0)):
            self.endpoint.on_black_hole(self)
        elif now - self.pinged_at > PROBE_PATIENCE / 4:
            self.ping()

    def probe_path(self, now: float) -> None:
        """Send something that fills a datagram."""
        self._probing, self._probed_at, self._pongs, self._ponged = True, now, 0, False
        self.write(0, PROOF.encode(Probe(padding=bytes(self.size))))

    def look(self, now: float, unused_timeout: float) -> None:
        """Once a second: end links whose frames come too slowly, and the connection if nobody has used it for long."""
        for link in list(self.links.values()):
            link.look(now)
        if not self.links and now - self.used_at > unused_timeout:
            self.endpoint.counters["unused connections"] += 1
            self.close(UNUSED)

    def end(self, reason: str, code: int | None = None) -> None:
        """The connection is over."""
        if self.ended is not None:
            return
        self.ended, self.end_code = reason, code
        for link in list(self.links.values()):
            link.finish(reason)
        self.links.clear()
        self.endpoint.on_end(self, reason)
        self._done.set()
        self.settled.set()

    def write(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes of a stream."""
        if self.ended is not None:
            return
        if stream:
            self._sent += len(data)
        try:
            self.quic.send_stream_data(stream, data, end_stream=fin)
        except Exception as error:
            self.on_failure(error)
        else:
            self.wrote = True
            self.owed += len(data)
            self.endpoint.mark(self)

    def on_failure(self, error: Exception) -> None:
        """The engine raised ``error``. If it takes no more because the peer has closed, an event will say so."""
        self._failure = self._failure or error
        if not self._handling:
            self.endpoint.handle_events(self)

    def handle_events(self) -> None:
        """Take what the QUIC engine has to tell."""
        self._handling = True
        try:
            self._take_events()
            if self._failure is not None and self.endpoint.engine.says_closed(self._failure):
                self._skip_draining()
        finally:
            self._handling = False
        if self._failure is not None and self.ended is None:
            self.endpoint.abandon(self, self._failure)
        self._failure = None

    def _skip_draining(self) -> None:
        """Have an engine that the peer has closed say why: it would only when it has drained (RFC 9000, section 10.2.2)."""
        if (timer := self.quic.get_timer()) is not None:
            self.quic.handle_timer(now=timer)
            self._take_events()

    def _take_events(self) -> None:
        events = self.endpoint.engine.events
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self._on_data(event.stream_id, event.data, fin=event.end_stream)
            elif isinstance(event, events.StreamReset):
                if (link := self.links.get(event.stream_id)) is not None:
                    link.close("the peer reset the link")
                self._tails.discard(event.stream_id)
            elif isinstance(event, events.PingAcknowledged):
                self._on_pong(event.uid)
            elif isinstance(event, events.ConnectionIdIssued):
                self.endpoint.route(event.connection_id, self)
            elif isinstance(event, events.ConnectionIdRetired):
                self.endpoint.unroute(event.connection_id, self)
            elif isinstance(event, events.HandshakeCompleted):
                self.wire = event.alpn_protocol or handshake.ALPN
                self._on_handshake()
            elif isinstance(event, events.ConnectionTerminated):
                if not self.proven and self.ended is None and not self.dialled:
                    no_alpn = event.error_code == CODE_NO_ALPN
                    self.endpoint.counters["refused: no common version" if no_alpn else "unfinished handshakes"] += 1
                reason = event.reason_phrase or "the peer closed the connection"
                self.end("idle timeout" if reason == "Idle timeout" else reason, event.error_code)
                self.endpoint.on_terminated(self)
                self._goodbye = None
        if self._goodbye is not None and (self._received >= self._goodbye.sent or self.ended is not None):
            self.break_off(self._goodbye.reason, self._goodbye.code)  # all has arrived, or we do not want it any more
            self._goodbye = None

    # --- identity

    def _on_handshake(self) -> None:
        self.binding = self._keylog.channel_binding()
        if self._wanted is not None:
            self._send_proof(DIALLER, self._wanted)

    def _send_proof(self, role: bytes, remote: PeerId) -> None:
        proof = handshake.make_proof(
            self.endpoint.key, role=role, binding=self.binding, remote=remote, instance=self.endpoint.instance
        )
        self.write(0, PROOF.encode(proof))

    def _on_first_stream(self, data: bytes) -> None:
        if self.ended is not None and self.linger_until is None:
            return
        self._first_stream += data
        while len(self._first_stream) >= 4:
            (length,) = struct.unpack_from(">I", self._first_stream)
            if length > (PROOF.max_frame if self.proven else MAX_PROOF):
                self._refuse("bad frame", "bad frame: not a proof of identity", CODE_PROTOCOL)
                return
            if len(self._first_stream) < 4 + length:
                return
            try:
                message = PROOF.decode(bytes(self._first_stream[4 : 4 + length]))
            except WireError as error:
                self._refuse("bad frame", f"bad frame: {error}", CODE_PROTOCOL)
                return
            del self._first_stream[: 4 + length]
            if isinstance(message, Proof) != (not self.proven) or self._goodbye is not None:
                self._refuse("bad frame", "bad frame: one proof of identity, and at last one goodbye", CODE_PROTOCOL)
                return
            if isinstance(message, Goodbye):
                self._goodbye = message
            elif isinstance(message, Probe):
                self.write(0, PROOF.encode(ProbeAnswer()))
            elif isinstance(message, ProbeAnswer):
                self._probing = False
            else:
                self._on_proof(message)
                if not self.proven:
                    return

    def _on_proof(self, proof: Proof) -> None:
        role = ACCEPTOR if self.dialled else DIALLER
        problem = handshake.check_proof(proof, role=role, binding=self.binding, me=self.endpoint.peer_id)
        if problem is None and self._wanted is not None and proof.peer_id != self._wanted:
            problem = f"this is {proof.peer_id}, not {self._wanted}"
        if problem is not None:
            if problem.startswith("this is "):
                self._refuse("wrong identity", problem, CODE_WRONG_IDENTITY)
            else:
                label = "proof of another version" if proof.version != handshake.VERSION else "bad proof"
                self._refuse(label, problem, CODE_REFUSED)
            return
        self.peer_id = proof.peer_id
        self.instance = proof.instance
        if not self.dialled:
            self._send_proof(ACCEPTOR, proof.peer_id)
        self.proven_at = self.used_at = anyio.current_time()
        self.endpoint.on_proven(self)
        self.settled.set()
        early, self._early = self._early, []
        for stream, data, fin in early:
            self._on_data(stream, data, fin=fin)

    def _refuse(self, label: str, reason: str, code: int) -> None:
        self.endpoint.counters[f"refused: {label}"] += 1  # never a peer's own words: whoever chooses names fills memory
        self.endpoint.send_now(self)
        self.break_off(reason, code)

    # --- links

    def _on_data(self, stream: int, data: bytes, *, fin: bool) -> None:
        if stream == 0:
            self._on_first_stream(data)
            return
        if self.ended is not None:
            return
        if not self.proven and self.dialled:
            # The acceptor is sure of us before we are of it: its proof may have been overtaken by its first links.
            self._early.append((stream, data, fin))
            if sum(len(data) + 64 for _, data, _ in self._early) > MAX_EARLY:
                self._refuse("no proof", "links came instead of a proof of identity", CODE_PROTOCOL)
            return
        if not self.proven:
            self._refuse("no proof", "a link was opened before the proof of identity", CODE_PROTOCOL)
            return
        self._received += len(data)
        if stream & 2:
            self.close("unidirectional streams are not used", code=CODE_PROTOCOL)
            return
        if stream in self._tails:
            if fin:
                self._tails.discard(stream)
            return
        link = self.links.get(stream)
        if link is None and len(self.links) + len(self._tails) >= MAX_LINKS + MAX_STREAMS:
            self.close("too many links", code=CODE_PROTOCOL)
            return
        if link is None:
            link = self.links[stream] = QuicLink(self, stream, PROBE, dialled=False)
        link.take(data, fin=fin)

    def _on_pong(self, uid: int) -> None:
        sent = self._pings.pop(uid, None)
        if sent is not None:
            self._ponged = True
            sample = anyio.current_time() - sent
            self._rtt = sample if self._rtt is None else 7 / 8 * self._rtt + sample / 8  # RFC 9002, section 5.3
