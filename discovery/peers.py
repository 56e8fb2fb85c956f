"""What applications see of the network: the catalog, its events, and why a peer is or is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import anyio

from discovery.catalog import Catalog, Record, Status
from discovery.errors import DiscoveryError
from transport import HostPort, PeerId
from transport.feed import Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """Another node.

    Attributes:
        peer_id: Who it is.
        addresses: Where it can be dialled.
        tags: Its words.
        groups: What it announces of the groups that it serves, 16 bytes each: tags of its own, which members of a group
            recognise (``Group.announced_by``) and which tell others nothing, not even who shares a group.
        rtt: Smoothed round-trip time in seconds (RFC 6298), as it was last measured; None if it never was.
        status: ``alive``, ``suspect``, ``lost`` or ``left``.
    """

    peer_id: PeerId
    addresses: tuple[HostPort, ...]
    tags: frozenset[str]
    groups: frozenset[bytes]
    rtt: float | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEvent:
    """Something changed about a peer.

    Attributes:
        kind: ``joined``, ``updated``, ``suspect``, ``lost``, ``left`` or ``recovered``.
        peer: The peer now.
        reason: Why we think so.
    """

    kind: str
    peer: PeerInfo
    reason: str


class Peers:
    """The other nodes of the network, alive or suspected; those that are lost or left are found by :meth:`get` alone.

    Args:
        catalog: What is known.
        rtt: The round-trip time to a peer, if it is connected.
        explain: What was tried with a peer.
    """

    def __init__(
        self, catalog: Catalog, *, rtt: Callable[[PeerId], float | None], explain: Callable[[PeerId], str]
    ) -> None:
        self._catalog = catalog
        self._rtt = rtt
        self._explain = explain
        self._feed: Feed[PeerEvent] = Feed(4096)
        self._changed = anyio.Event()
        self.closed = False
        self.when = When(self)

    def __len__(self) -> int:
        return len(self._catalog)

    def __iter__(self) -> Iterator[PeerInfo]:
        return iter(sorted(self._alive(), key=lambda peer: peer.peer_id))

    def __contains__(self, peer_id: object) -> bool:
        record = self._catalog.get(peer_id) if isinstance(peer_id, PeerId) else None
        return record is not None and record.status in (Status.ALIVE, Status.SUSPECT)

    def get(self, peer_id: PeerId) -> PeerInfo | None:
        """What is known of a peer, whatever its status; None if nothing."""
        record = self._catalog.get(peer_id)
        return None if record is None else self._info(record)

    def events(self) -> AsyncIterator[PeerEvent]:
        """Changes from now on; ends when the network is left. A reader that is too slow loses the oldest of 4096."""
        return self._feed.subscribe()

    def explain(self, peer_id: PeerId) -> str:
        """What is known of a peer, what was tried, and what came of it."""
        return self._explain(peer_id)

    # --- for the service

    def tell(self, kind: str, peer_id: PeerId, reason: str) -> None:
        """Hand out an event."""
        record = self._catalog.get(peer_id)
        if record is not None:
            self._feed.put(PeerEvent(kind=kind, peer=self._info(record), reason=reason))
        self.wake()

    def close(self) -> None:
        """No more will come."""
        self.closed = True
        self._feed.close()
        self.wake()

    def wake(self) -> None:
        """Something may have changed."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_change(self) -> None:
        """Wait until something may have changed."""
        await self._changed.wait()

    def _alive(self) -> Iterator[PeerInfo]:
        for record in self._catalog:
            if record.status in (Status.ALIVE, Status.SUSPECT):
                yield self._info(record)

    def _info(self, record: Record) -> PeerInfo:
        entry = record.signed.entry
        return PeerInfo(
            peer_id=entry.peer_id,
            addresses=entry.endpoints,
            tags=frozenset(entry.tags),
            groups=frozenset(entry.groups),
            rtt=self._rtt(entry.peer_id),
            status=record.status.value,
        )


class When:
    """Conditions on the catalog to wait for."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def known(self, count: int) -> None:
        """Wait until at least ``count`` other nodes are known.

        Raises:
            DiscoveryError: The network was left first.
        """
        while len(self._peers) < count:
            if self._peers.closed:
                raise DiscoveryError(
                    f"the network was left while {len(self._peers)} of {count} awaited peers were known"
                )
            await self._peers.wait_change()
