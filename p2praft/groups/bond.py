"""Bonds: a link between two members of a group, opened with a mutual proof that both hold its key.

The opener proves first. The proof covers the connection's channel binding, the direction, both PeerIds and what the opener
says of its memory and its process, so it is worth nothing on any other connection. The acceptor answers ``refused`` alike whether
it has no such group or the proof is bad, after the same computation.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import anyio

from p2praft.groups.key import GroupId, GroupKey, Tags, proof
from p2praft.groups.twins import Nonce, Process, Start
from p2praft.raft.effects import Outgoing
from p2praft.raft.histories.entries import HistoryId
from p2praft.raft.messages import Message
from p2praft.raft.types import Member
from transport import Connection, Link, LinkClosed, LinkFull, PeerId, Protocol
from transport.wire import Size

HANDSHAKE_TIMEOUT = 5.0
"""Seconds that either side waits for the other's proof."""
FEATURES: tuple[str, ...] = ()
"""What this release can do on a bond beyond its first version, a word each. Both sides say theirs as the bond opens; what
both have may be used on it. So a message that older members do not know is sent to none of them."""
REFUSED = "refused"
DUPLICATE = "duplicate bond"

Proof = Annotated[bytes, Size(32, 32)]
Incarnation = Annotated[bytes, Size(8, 8)]
Features = Annotated[tuple[Annotated[str, Size(1, 32)], ...], Size(0, 64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BondRequest:
    """The opener names the group, says which memory it has and which process it is, and proves that it holds the key."""

    group: Annotated[bytes, Size(16, 16)]
    incarnation: Incarnation
    volatile: bool
    process: Nonce
    start: Start
    features: Features
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class BondResponse:
    """The acceptor does likewise."""

    incarnation: Incarnation
    volatile: bool
    process: Nonce
    start: Start
    features: Features
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A Raft message and the history that it speaks of."""

    history: HistoryId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The sender stops now: its bond is broken by intent, there is nothing to wait for.

    Attributes:
        ended: Whether its incarnation ends with it: its memory goes.
    """

    wire_tag: ClassVar[int] = 1
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The sender has met two processes with the receiver's identity, and both live.

    Attributes:
        one: The process at the receiver's end of this bond, as the sender sees it.
        other: The other process.
    """

    one: Process
    other: Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The sender is another member from here on: its former incarnation has ended, and promises nothing any more.

    Attributes:
        incarnation: The new one, above the former.
    """

    incarnation: Incarnation


BOND = Protocol(
    name="bond/2",
    messages={1: BondRequest, 2: BondResponse, 3: Envelope, 4: Departure, 5: Twin, 6: Renewed},
    max_frame=4 * 1024 * 1024,
    window=16 * 1024 * 1024,
)
FORMER_BOND = Protocol(name="bond/1", messages={}, max_frame=1024)
"""What members of release 0.1 ask for. It is not spoken: who asks is told so, and a person as well."""
FORMER = "this node forms no group with members of release 0.1; upgrade them"


@dataclass(slots=True, eq=False)
class Bond:
    """A proven link to one member.

    Attributes:
        member: Who is at the other end, with which memory; it may become a later incarnation.
        link: The link.
        process: The nonce of the process at the other end.
        start: Which opening of its storage that is.
        own: The incarnation that the other end knows us by.
        features: What both sides can do beyond the first version.
    """

    member: Member
    link: Link
    process: bytes
    start: int
    own: bytes
    features: frozenset[str] = frozenset()

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time of the connection, in seconds."""
        return self.link.connection.rtt

    def send(self, outgoing: Outgoing) -> None:
        """Send a Raft message; dropped if the bond is broken or the peer reads too slowly: Raft repeats itself."""
        try:
            self.link.send_nowait(Envelope(history=outgoing.history, message=outgoing.message))
        except (LinkFull, LinkClosed):
            return

    def renew(self, incarnation: bytes) -> None:
        """Have the other end know which incarnation we are, before anything else that is sent; else the bond breaks."""
        if incarnation == self.own:
            return
        self.own = incarnation
        try:
            self.link.send_nowait(Renewed(incarnation=incarnation))
        except LinkFull:
            self.link.close("it is too full to say that this member is another one now")
        except LinkClosed:
            return


@dataclass(slots=True, eq=False)
class Membership:
    """What one side brings to the handshake.

    Attributes:
        group: Which group.
        key: Its secret.
        me: This member; it may become a later incarnation of itself.
        process: 16 random bytes, new in every process.
        start: Which opening of the member's storage this is.
        features: What it can do beyond the first version.
        tags: Recognise the group's other members.
    """

    group: GroupId
    key: GroupKey
    me: Member
    process: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    start: int = 1
    features: tuple[str, ...] = field(default_factory=lambda: FEATURES)
    tags: Tags = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.tags = Tags(self.key, self.group)

    @property
    def bond_key(self) -> bytes:
        """What proofs are made with."""
        return self.key.derive(b"bond")

    def proof(self, role: bytes, verifier: PeerId, link: Link) -> bytes:
        """That this member holds the key, for one other on one connection."""
        return _proof(self.bond_key, self.group.key, role, self.me, self.process, self.start, verifier, link)


async def open_bond(connection: Connection, own: Membership) -> Bond:
    """Ask the peer for a bond.

    Raises:
        LinkClosed: It refused, or its proof is bad, or the connection broke.
        TimeoutError: It did not answer in time.
    """
    with anyio.fail_after(HANDSHAKE_TIMEOUT):
        link = await connection.open(BOND)
        known_as = own.me.incarnation
        try:
            await link.send(
                BondRequest(
                    group=own.group.key,
                    incarnation=own.me.incarnation,
                    volatile=own.me.volatile,
                    process=own.process,
                    start=own.start,
                    features=own.features,
                    proof=own.proof(b"opener", link.peer_id, link),
                )
            )
            response = await link.receive()
            if not isinstance(response, BondResponse):
                raise LinkClosed("the peer did not answer the bond request")
            member = Member(link.peer_id, response.incarnation, response.volatile)
            process, start = response.process, response.start
            expected = _proof(own.bond_key, own.group.key, b"acceptor", member, process, start, own.me.peer_id, link)
            if not hmac.compare_digest(expected, response.proof):
                raise LinkClosed("the peer does not hold the group's key")
        except BaseException:
            link.close(REFUSED)
            raise
    return Bond(member, link, process, start, known_as, _shared(own, response.features))


async def accept_bond(link: Link, me: PeerId, groups: Mapping[bytes, Membership]) -> tuple[Bond, bytes] | None:
    """Take a request made to peer ``me``; the bond and its group's id in bytes, or None if it was refused.

    Raises:
        LinkClosed: The connection broke.
        TimeoutError: The opener said nothing in time.
    """
    with anyio.fail_after(HANDSHAKE_TIMEOUT):
        request = await link.receive()
        if not isinstance(request, BondRequest):
            link.close(REFUSED)
            return None
        own = groups.get(request.group)
        member = Member(link.peer_id, request.incarnation, request.volatile)
        # An unknown group costs the same derivation and comparison as a known one, with a key nobody has.
        key = own.key if own else GroupKey(secrets.token_bytes(32))
        process, start = request.process, request.start
        expected = _proof(key.derive(b"bond"), request.group, b"opener", member, process, start, me, link)
        proven = hmac.compare_digest(expected, request.proof)
        if own is None or not proven:
            link.close(REFUSED)
            return None
        known_as = own.me.incarnation
        await link.send(
            BondResponse(
                incarnation=own.me.incarnation,
                volatile=own.me.volatile,
                process=own.process,
                start=own.start,
                features=own.features,
                proof=own.proof(b"acceptor", link.peer_id, link),
            )
        )
    return Bond(member, link, process, start, known_as, _shared(own, request.features)), request.group


def _shared(own: Membership, theirs: tuple[str, ...]) -> frozenset[str]:
    return frozenset(own.features).intersection(theirs)


def _proof(
    bond_key: bytes,
    group: bytes,
    role: bytes,
    prover: Member,
    process: bytes,
    start: int,
    verifier: PeerId,
    link: Link,
) -> bytes:
    return proof(
        bond_key,
        b"p2praft/1 bond",
        group,
        link.binding,
        role,
        prover.peer_id.key,
        verifier.key,
        prover.incarnation,
        bytes([prover.volatile]),
        process,
        start.to_bytes(8, "big"),
    )
