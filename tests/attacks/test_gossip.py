"""Attacks by a neighbour in gossip: it has an identity and is in the network, as anybody may, and lies about others."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from discovery import Discovery, Entry, NetworkId, SignedEntry, Version
from discovery.catalog import MAX_PEERS, MAX_PER_SOURCE, Catalog
from discovery.messages import DISCOVERY, Hello, News
from tests.attacks.attacker import RawPeer, insider, node, serves_others
from tests.transport.support import PATIENCE, until
from transport import HostPort, PeerId, QuicTransport, SecretKey, WireError
from transport.endpoint import QuicEndpoint

pytestmark = pytest.mark.anyio

NETWORK = NetworkId.of("factory")
HERE = (HostPort("127.0.0.1", 9),)


def entry(
    signer: SecretKey,
    version: tuple[int, int] = (1, 1),
    *,
    name: PeerId | None = None,
    network: NetworkId = NETWORK,
    where: tuple[HostPort, ...] = HERE,
    left: bool = False,
) -> SignedEntry:
    """An entry of ``name``, by default the signer's own."""
    return SignedEntry.sign(
        signer,
        Entry(network=network, peer_id=name or signer.peer_id, version=Version(*version), endpoints=where, left=left),
    )


class Scene:
    """B, the honest H that B knows, and a neighbour of B's that lies.

    Attributes:
        b: Who is lied to.
        h: Whom the lies are about.
        evil: The liar.
        key: Of H; tests use it for what H itself once said.
    """

    def __init__(self, b: Discovery, b_end: QuicEndpoint, h: Discovery, key: SecretKey, evil: RawPeer) -> None:
        self.b, self.b_end, self.h, self.key, self.evil = b, b_end, h, key, evil
        self.stream = evil.open(DISCOVERY)
        self.say(Hello(entry=entry(evil.key, where=(evil.where,))))

    def say(self, message: object) -> None:
        self.evil.send(self.stream, DISCOVERY.encode(message))

    async def heard(self) -> None:
        """Until B has dealt with what was said before: it takes things in turn, so a later true entry tells; or it hung up."""
        marker = SecretKey.generate()
        self.say(News(entries=(entry(marker),)))
        await until(lambda: self.b.peers.get(marker.peer_id) is not None or self.stream in self.evil.finished)
        await anyio.sleep(0.1)

    @property
    def known(self) -> tuple[object, ...]:
        """What B has of H."""
        peer = self.b.peers.get(self.key.peer_id)
        assert peer is not None
        return (peer.status, peer.addresses)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(PATIENCE))
        b_end, key = await stack.enter_async_context(node()), SecretKey.generate()
        h_end = await stack.enter_async_context(QuicTransport().bind(key, listen=HostPort("127.0.0.1", 0)))
        b = await stack.enter_async_context(Discovery(b_end, b_end.key, network="factory"))
        h = await stack.enter_async_context(Discovery(h_end, key, network="factory", seeds=[b_end.address]))
        await b.peers.when.known(1)
        evil = await stack.enter_async_context(insider(b_end))
        made = Scene(b, b_end, h, key, evil)
        await b.peers.when.known(2)
        yield made


@pytest.mark.parametrize("forgery", ["an entry", "a departure", "a stranger"])
async def test_forged_entries_are_not_taken(forgery: str) -> None:
    async with scene() as s:
        before = s.known
        about = SecretKey.generate().peer_id if forgery == "a stranger" else s.key.peer_id
        s.say(News(entries=(entry(s.evil.key, (9, 9), name=about, left=forgery == "a departure"),)))
        await until(lambda: s.stream in s.evil.finished)  # honest nodes pass on nothing that they have not verified
        assert s.evil.close_reason(s.stream)
        assert s.b_end.counters["forged entries"] == 1
        assert s.known == before
        assert forgery != "a stranger" or s.b.peers.get(about) is None
        assert await serves_others(s.b_end)


async def test_entries_of_a_foreign_network_are_not_taken() -> None:
    async with scene() as s:
        before, stranger = s.known, SecretKey.generate()
        s.say(News(entries=(entry(stranger, network=NetworkId.of("other")),)))
        s.say(News(entries=(entry(s.key, (9, 9), network=NetworkId.of("other")),)))
        await s.heard()
        assert s.known == before
        assert s.b.peers.get(stranger.peer_id) is None
        assert await serves_others(s.b_end)


async def test_old_entries_change_nothing() -> None:
    async with scene() as s:
        before = s.known
        s.say(News(entries=(entry(s.key, (0, 1)),)))
        s.say(News(entries=(entry(s.key, (0, 2**40), left=True),)))
        await s.heard()
        assert s.known == before
        assert await serves_others(s.b_end)


async def test_a_replayed_departure_is_refuted_by_who_is_still_there() -> None:
    """H said goodbye once, in a life that it has forgotten; the attacker has kept it. H says that it is here."""
    async with scene() as s:
        s.say(News(entries=(entry(s.key, (1, 2**40), left=True),)))

        def back() -> bool:
            peer = s.b.peers.get(s.key.peer_id)
            return peer is not None and peer.status == "alive" and peer.addresses != HERE

        await s.heard()
        await until(back)
        assert await serves_others(s.b_end)


async def test_versions_from_the_end_of_time_are_refused_or_outrun() -> None:
    """A version beyond 63 bits is no version; H's own signature on a version near it would be H's own doing."""
    async with scene() as s:
        data = bytearray(DISCOVERY.encode(News(entries=(entry(s.key, (2**63 - 1, 1)),))))
        at = data.index(b"\xcf" + struct.pack(">Q", 2**63 - 1))
        data[at + 1 : at + 9] = b"\xff" * 8
        before = s.known
        s.evil.send(s.stream, bytes(data))
        await until(lambda: s.stream in s.evil.finished)
        assert "bad frame" in s.evil.close_reason(s.stream)
        assert s.b_end.counters["bad frame"] == 1
        assert s.known == before
        assert await serves_others(s.b_end)


def test_no_flipped_bit_of_an_entry_goes_unnoticed() -> None:
    signed = entry(SecretKey.generate(), (3, 7))
    good = DISCOVERY.encode(News(entries=(signed,)))[4:]
    noticed = 0
    for at in range(len(good) * 8):
        bad = bytearray(good)
        bad[at // 8] ^= 1 << at % 8
        try:
            message = DISCOVERY.decode(bytes(bad))
        except WireError:
            noticed += 1
            continue
        if not isinstance(message, News) or not message.entries[0].holds():
            noticed += 1
    assert noticed == len(good) * 8


async def test_somebody_elses_entry_is_no_hello() -> None:
    async with scene() as s, insider(s.b_end) as evil:
        stream = evil.open(DISCOVERY)
        evil.send(stream, DISCOVERY.encode(Hello(entry=entry(s.key, (1, 5)))))
        await until(lambda: stream in evil.finished)
        assert evil.close_reason(stream)
        assert await serves_others(s.b_end)


# --- many


def sybil(number: int) -> SignedEntry:
    """An invented peer; only who checks the signature sees that it is not one."""
    return SignedEntry(
        entry=Entry(
            network=NETWORK,
            peer_id=PeerId(number.to_bytes(32, "big")),
            version=Version(1, 1),
            endpoints=HERE,
        ),
        signature=bytes(64),
    )


def test_a_hundred_thousand_sybils_fill_their_senders_share_and_no_more() -> None:
    """As if every signature held: who makes entries can make keys for them, too."""
    me, liar = SecretKey.generate().peer_id, SecretKey.generate().peer_id
    honest = [entry(SecretKey.generate()) for _ in range(50)]
    late = [entry(SecretKey.generate()) for _ in range(50)]
    catalog = Catalog(me, NETWORK)
    for signed in honest:
        catalog.merge(signed, 0.0, source=me)
    taken = sum(catalog.merge(sybil(number), 1.0, source=liar) is not None for number in range(100_000))
    assert taken <= MAX_PER_SOURCE
    assert len(catalog) <= MAX_PEERS
    for signed in late:
        assert catalog.merge(signed, 2.0, source=me) is not None, "there is room for who comes later"
    assert all(catalog.get(signed.entry.peer_id) is not None for signed in honest + late)


async def test_a_flood_of_sybils_over_a_link_leaves_honest_peers_known_and_linked() -> None:
    async with scene() as s:
        keys = [SecretKey.generate() for _ in range(600)]
        signed = [entry(key, where=HERE) for key in keys]
        began = time.process_time()
        for at in range(0, len(signed), 30):
            s.say(News(entries=tuple(signed[at : at + 30])))
        count, stable = -1, 0
        while stable < 5:  # however many B takes: until it has dealt with all
            await anyio.sleep(0.1)
            stable = stable + 1 if len(s.b.peers) == count else 0
            count = len(s.b.peers)
        assert time.process_time() - began < 10, "processor time, a generous bound"
        assert s.known[0] == "alive"
        assert s.key.peer_id in s.b_end.connections
        assert await serves_others(s.b_end)


async def test_entries_that_all_point_at_one_victim_do_not_make_a_flood() -> None:
    """300 invented peers, all said to live at the victim's socket, which never asked for anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.setblocking(False)
        victim.bind(("127.0.0.1", 0))
        where = (HostPort(*victim.getsockname()),)
        async with scene() as s:
            for _ in range(10):
                s.say(News(entries=tuple(entry(SecretKey.generate(), where=where) for _ in range(30))))
            await anyio.sleep(3)
            hits = 0
            while True:
                try:
                    victim.recv(65536)
                except BlockingIOError:
                    break
                hits += 1
            # Two nodes, each with at most two dials at a time to one place, each of five seconds and six datagrams.
            assert hits <= 2 * 2 * 6 * 2
            assert s.known[0] == "alive"
            assert await serves_others(s.b_end)
