"""All that a node knows of others: pure. Merging is commutative, so every order of news gives the same catalog."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from discovery.entry import NetworkId, SignedEntry, Version
from discovery.messages import BUCKETS
from transport import PeerId

MAX_PEERS = 8192
"""Peers that a catalog holds at most; beyond, lost and departed ones make room, and then nothing new is taken."""
MAX_PER_SOURCE = MAX_PEERS // 2
"""Of them, that one neighbour may have told us of: no single liar fills the catalog."""
TOMBSTONE_TTL = 3600.0
"""Seconds, by our own clock, that a departure is remembered."""
LOST_TTL = 7 * 86_400.0
"""Seconds, by our own clock, that a lost peer is remembered, and looked for now and then."""


class Status(StrEnum):
    """How a peer is."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"
    LEFT = "left"


@dataclass(slots=True)
class Record:
    """One peer.

    Attributes:
        signed: Its newest entry.
        status: How it is.
        since: When the status began, on our clock.
        source: Who told us of the peer first.
        deadline: When a suspect is lost.
    """

    signed: SignedEntry
    status: Status
    since: float
    source: PeerId
    deadline: float = float("inf")

    @property
    def version(self) -> Version:
        """Of the newest entry."""
        return self.signed.entry.version


class Catalog:
    """Records by peer. It holds no entry of its owner's.

    Args:
        me: The owner.
        network: Whose entries are taken.
    """

    def __init__(self, me: PeerId, network: NetworkId) -> None:
        self._me = me
        self._network = network
        self._records: dict[PeerId, Record] = {}
        self._sources: Counter[PeerId] = Counter()
        self._hashes: list[bytes | None] = [None] * BUCKETS

    def __len__(self) -> int:
        """How many peers are alive or suspect."""
        return sum(record.status in (Status.ALIVE, Status.SUSPECT) for record in self._records.values())

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def get(self, peer_id: PeerId) -> Record | None:
        """What is known of a peer."""
        return self._records.get(peer_id)

    def is_news(self, signed: SignedEntry) -> bool:
        """Whether the entry is of this network and newer than what is known. Its signature is not looked at."""
        entry = signed.entry
        if entry.network != self._network or entry.peer_id == self._me:
            return False
        record = self._records.get(entry.peer_id)
        return record is None or entry.version > record.version

    def merge(self, signed: SignedEntry, now: float, *, source: PeerId) -> tuple[Record, Status | None] | None:
        """Take an entry that is news and whose signature holds.

        Returns:
            The record and its status before, None if the peer was unknown; or None if there is no room, or ``source``
            has told us of too many.
        """
        entry = signed.entry
        record = self._records.get(entry.peer_id)
        status = Status.LEFT if entry.left else Status.ALIVE
        if record is None:
            if self._sources[source] >= MAX_PER_SOURCE or (len(self._records) >= MAX_PEERS and not self._make_room()):
                return None
            record = self._records[entry.peer_id] = Record(signed, status, now, source)
            self._sources[source] += 1
            before = None
        else:
            before = record.status
            record.signed = signed
            self.set_status(record, status, now)
        self._hashes[bucket_of(entry.peer_id)] = None
        return record, before

    def set_status(self, record: Record, status: Status, now: float, *, deadline: float = float("inf")) -> None:
        """Note how a peer is."""
        if record.status is not status:
            record.status, record.since = status, now
        record.deadline = deadline

    def expire(self, now: float) -> None:
        """Forget what has been gone for long."""
        for peer_id, record in list(self._records.items()):
            ttl = {Status.LEFT: TOMBSTONE_TTL, Status.LOST: LOST_TTL}.get(record.status)
            if ttl is not None and now - record.since > ttl:
                self._forget(peer_id)

    def summary(self, own: SignedEntry) -> tuple[bytes, ...]:
        """A hash of each bucket; equal for catalogs that hold the same versions."""
        mine = bucket_of(self._me)
        hashes = []
        for bucket in range(BUCKETS):
            cached = self._hashes[bucket]
            if cached is None or bucket == mine:
                cached = self._hash(bucket, own if bucket == mine else None)
                self._hashes[bucket] = cached
            hashes.append(cached)
        return tuple(hashes)

    def in_bucket(self, bucket: int) -> list[Record]:
        """Records of one bucket, by peer."""
        members = [(peer_id, record) for peer_id, record in self._records.items() if bucket_of(peer_id) == bucket]
        return [record for _, record in sorted(members, key=lambda item: item[0])]

    def _hash(self, bucket: int, own: SignedEntry | None) -> bytes:
        lines = [(record.signed.entry.peer_id.key, record.version) for record in self.in_bucket(bucket)]
        if own is not None:
            lines.append((own.entry.peer_id.key, own.entry.version))
        digest = hashlib.sha256()
        for key, version in sorted(lines):
            digest.update(key + version.incarnation.to_bytes(8, "big") + version.sequence.to_bytes(8, "big"))
        return digest.digest()[:8]

    def _make_room(self) -> bool:
        gone = [r for r in self._records.values() if r.status in (Status.LOST, Status.LEFT)]
        if not gone:
            return False
        oldest = min(gone, key=lambda record: record.since)
        self._forget(oldest.signed.entry.peer_id)
        return True

    def _forget(self, peer_id: PeerId) -> None:
        source = self._records.pop(peer_id).source
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        self._hashes[bucket_of(peer_id)] = None


def bucket_of(peer_id: PeerId) -> int:
    """In which part of the catalog a peer is compared."""
    return peer_id.key[0] % BUCKETS
