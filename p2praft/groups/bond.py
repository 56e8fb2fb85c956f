"""Bonds: a link between two members of a group, opened with a mutual proof that both hold its key.

The opener proves first. The proof covers the connection's channel binding, the direction, both PeerIds and the
opener's incarnation, so it is worth nothing on any other connection. The acceptor answers ``refused`` alike whether
it has no such group or the proof is bad, after the same computation.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import anyio

from p2praft.groups.key import GroupId, GroupKey, proof
from p2praft.raft import messages as raft
from p2praft.raft.effects import Outgoing
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
    """The opener names the group, says which memory it has, and proves that it holds the key."""

    group: Annotated[bytes, Size(16, 16)]
    incarnation: Incarnation
    volatile: bool
    features: Features
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class BondResponse:
    """The acceptor does likewise."""

    incarnation: Incarnation
    volatile: bool
    features: Features
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A Raft message and the history that it speaks of."""

    history: raft.HistoryId
    message: raft.Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The sender stops now: its bond is broken by intent, there is nothing to wait for."""

    wire_tag: ClassVar[int] = 1


BOND = Protocol(
    name="bond/1",
    messages={1: BondRequest, 2: BondResponse, 3: Envelope, 4: Departure},
    max_frame=4 * 1024 * 1024,
    window=16 * 1024 * 1024,
)


@dataclass(frozen=True, slots=True, eq=False)
class Bond:
    """A proven link to one member.

    Attributes:
        member: Who is at the other end, with which memory.
        link: The link.
        features: What both sides can do beyond the first version.
    """

    member: raft.Member
    link: Link
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


@dataclass(frozen=True, slots=True)
class Membership:
    """What one side brings to the handshake.

    Attributes:
        group: Which group.
        key: Its secret.
        me: This member.
        features: What it can do beyond the first version.
    """

    group: GroupId
    key: GroupKey
    me: raft.Member
    features: tuple[str, ...] = field(default_factory=lambda: FEATURES)

    @property
    def bond_key(self) -> bytes:
        """What proofs are made with."""
        return self.key.derive(b"bond")


async def open_bond(connection: Connection, own: Membership) -> Bond:
    """Ask the peer for a bond.

    Raises:
        LinkClosed: It refused, or its proof is bad, or the connection broke.
        TimeoutError: It did not answer in time.
    """
    with anyio.fail_after(HANDSHAKE_TIMEOUT):
        link = await connection.open(BOND)
        try:
            await link.send(
                BondRequest(
                    group=own.group.key,
                    incarnation=own.me.incarnation,
                    volatile=own.me.volatile,
                    features=own.features,
                    proof=_proof(own.bond_key, own.group.key, b"opener", own.me, link.peer_id, link),
                )
            )
            response = await link.receive()
            if not isinstance(response, BondResponse):
                raise LinkClosed("the peer did not answer the bond request")
            member = raft.Member(link.peer_id, response.incarnation, response.volatile)
            expected = _proof(own.bond_key, own.group.key, b"acceptor", member, own.me.peer_id, link)
            if not hmac.compare_digest(expected, response.proof):
                raise LinkClosed("the peer does not hold the group's key")
        except BaseException:
            link.close(REFUSED)
            raise
    return Bond(member, link, _shared(own, response.features))


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
        member = raft.Member(link.peer_id, request.incarnation, request.volatile)
        # An unknown group costs the same derivation and comparison as a known one, with a key nobody has.
        key = own.key if own else GroupKey(secrets.token_bytes(32))
        expected = _proof(key.derive(b"bond"), request.group, b"opener", member, me, link)
        proven = hmac.compare_digest(expected, request.proof)
        if own is None or not proven:
            link.close(REFUSED)
            return None
        await link.send(
            BondResponse(
                incarnation=own.me.incarnation,
                volatile=own.me.volatile,
                features=own.features,
                proof=_proof(own.bond_key, own.group.key, b"acceptor", own.me, link.peer_id, link),
            )
        )
    return Bond(member, link, _shared(own, request.features)), request.group


def _shared(own: Membership, theirs: tuple[str, ...]) -> frozenset[str]:
    return frozenset(own.features).intersection(theirs)


def _proof(bond_key: bytes, group: bytes, role: bytes, prover: raft.Member, verifier: PeerId, link: Link) -> bytes:
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
    )
