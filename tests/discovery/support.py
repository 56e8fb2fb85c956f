"""Keys, entries and engines to test with, the same at every run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from discovery import DiscoveryConfig, Entry, NetworkId, SignedEntry, Version
from discovery.effects import Dial, Effect, Send
from discovery.gossip import Gossip
from discovery.messages import Message, Pong
from transport import HostPort, PeerAddr, PeerId, SecretKey

NETWORK = NetworkId.of("factory")


@cache
def key(number: int) -> SecretKey:
    """The key of node ``number``."""
    return SecretKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"node {number}".encode()).digest()))


@cache
def peer(number: int) -> PeerId:
    """The id of node ``number``."""
    return key(number).peer_id


def address(number: int, port: int = 7001) -> PeerAddr:
    """Where node ``number`` listens."""
    return PeerAddr(peer(number), (HostPort(f"host{number}", port),))


def entry(
    number: int,
    version: tuple[int, int] = (1, 1),
    *,
    network: NetworkId = NETWORK,
    port: int = 7001,
    tags: Sequence[str] = (),
    groups: Sequence[bytes] = (),
    left: bool = False,
) -> SignedEntry:
    """What node ``number`` says of itself."""
    return SignedEntry.sign(
        key(number),
        Entry(
            network=network,
            peer_id=peer(number),
            version=Version(*version),
            endpoints=address(number, port).endpoints,
            tags=tuple(tags),
            groups=tuple(groups),
            left=left,
        ),
    )


def engine(
    number: int = 0,
    *,
    seeds: Sequence[int] = (),
    tags: Collection[str] = (),
    config: DiscoveryConfig | None = None,
    now: float = 0.0,
    incarnation: int = 1,
    port: int = 7001,
    seed: int = 0,
    holds: Callable[[SignedEntry], bool] = SignedEntry.holds,
) -> Gossip:
    """The engine of node ``number``."""
    return Gossip(
        key=key(number),
        network=NETWORK,
        endpoints=address(number, port).endpoints,
        tags=tags,
        seeds=[address(at) for at in seeds],
        config=config or DiscoveryConfig(),
        rng=random.Random(seed * 1_000_003 + number),
        now=now,
        incarnation=incarnation,
        holds=holds,
    )


def linked(number: int = 0, *neighbours: int, now: float = 0.0) -> Gossip:
    """An engine that has these neighbours, and nothing left to do."""
    before = now - 1
    gossip = engine(number, now=before)
    for other in neighbours:
        assert gossip.link_up(peer(other), entry(other), before) is None
    for at in (now - 0.5, now):  # what it had to tell of each to the others is told
        for other in neighbours:
            gossip.receive(peer(other), Pong(number=0), at)
    gossip.tick(now)
    for effect in gossip.take_effects():
        if isinstance(effect, Dial):
            gossip.dial_failed(effect.address.peer_id, now)
    gossip.take_effects()
    return gossip


def sent(effects: Sequence[Effect], to: int | None = None) -> list[Message]:
    """The messages among some effects."""
    return [e.message for e in effects if isinstance(e, Send) and (to is None or e.peer == peer(to))]
