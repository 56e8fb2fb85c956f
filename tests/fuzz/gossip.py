"""Target: the gossip engine, told anything by anybody in any order."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import pairwise

from discovery import DiscoveryConfig, NetworkId, SignedEntry, Version
from discovery.effects import Send
from discovery.gossip import Gossip
from discovery.messages import DISCOVERY, Message
from tests.discovery.support import engine, entry, peer
from tests.fuzz.source import Source
from tests.fuzz.values import Maker
from transport import PeerId

PEERS = 6
CONFIG = DiscoveryConfig(max_neighbours=3)
STEPS = 200
VERSIONS = ((1, 1), (1, 2), (2, 1), (2**63 - 1, 2**63 - 1))


@cache
def _entries() -> tuple[SignedEntry, ...]:
    """Entries that hold, of few peers in many versions; of a foreign network; and some that nobody signed."""
    good = [
        entry(number, version, left=left, tags=["t"] * left)
        for number in range(PEERS)
        for version in VERSIONS
        for left in (False, True)
        if number or version < VERSIONS[-1]  # its own key signs no such entry: nothing could come after it
    ]
    foreign = [entry(number, network=NetworkId.of("elsewhere")) for number in range(2)]
    forged = [SignedEntry(entry=mine.entry, signature=theirs.signature) for mine, theirs in pairwise(good)]
    return (*good, *foreign, *forged[::5])


@cache
def _maker() -> Maker:
    return Maker(
        {
            PeerId: [peer(number) for number in range(PEERS)],
            Version: [Version(*version) for version in VERSIONS],
            SignedEntry: _entries(),
        }
    )


@lru_cache(maxsize=4096)
def _holds(signed: SignedEntry) -> bool:
    return signed.holds()


def check(gossip: Gossip, before: dict[PeerId, Version]) -> dict[PeerId, Version]:
    """What always holds; the versions that the catalog has now."""
    for effect in gossip.take_effects():
        if isinstance(effect, Send):
            frame = DISCOVERY.encode(effect.message)
            assert DISCOVERY.decode(frame[4:]) == effect.message
    versions = {}
    for record in gossip.catalog:
        signed = record.signed
        assert _holds(signed)
        assert signed.entry.network == gossip.network
        assert signed.entry.peer_id != gossip.me
        versions[signed.entry.peer_id] = signed.entry.version
        old = before.get(signed.entry.peer_id)
        assert old is None or old <= signed.entry.version
    assert _holds(gossip.own)
    assert gossip.own.entry.peer_id == gossip.me
    assert len(gossip.neighbours) <= CONFIG.max_neighbours
    return versions


def gossip(data: bytes) -> None:
    """Any well-typed input in any order: no exception, and the catalog holds nothing but what owners signed."""
    source = Source(data)
    node = engine(0, seeds=(1, 2), config=CONFIG)
    now = 0.0
    known: dict[PeerId, Version] = {}
    for _ in range(STEPS):
        if source.exhausted:
            break
        own = node.own.entry.version
        other = peer(source.below(PEERS))
        match source.byte() % 8:
            case 0:
                now += source.pick((0.0, 0.1, 1.0, 5.0, 1e5))
                node.tick(now)
            case 1 | 2:
                hello = source.pick(_entries())
                if _holds(hello):  # the shell looks first
                    node.link_up(other, hello, now)
            case 3:
                node.link_down(other, now, reason="x", orderly=bool(source.byte() & 1))
            case 4 if source.chance(4):
                node.dial_failed(other, now, unreachable=bool(source.byte() & 1))
            case 5 if source.chance(8):
                node.update(groups=[bytes([source.below(4)]) * 16])
            case 5 if source.chance(16):
                node.leave()
            case _:
                message: Message = _maker().message(source.pick(list(DISCOVERY.messages.values())), source)
                node.receive(other, message, now)
        known = check(node, known)
        assert own <= node.own.entry.version
