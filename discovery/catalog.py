"""All that a node knows of others: pure. Merging is commutative, so every order of news gives the same catalog.

Nobody can fill it with inventions: it is bounded, and once it is full the sources (the neighbours who told us of a peer first)
share it fairly. Who has told of most gives way to who has told of less, and peers that we have linked with ourselves, which
proves that they exist, give way to nobody.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from discovery.entry import ID_SIZE, NetworkId, SignedEntry, Version
from discovery.messages import BUCKETS
from transport import PeerId

MAX_PEERS = 8192
"""Peers that a catalog holds at most."""
MAX_PER_SOURCE = MAX_PEERS // 2
"""Of them, that one neighbour may have told us of: no single liar fills the catalog."""
TOMBSTONE_TTL = 3600.0
"""Seconds, by our own clock, that a departure is remembered."""
LOST_TTL = 7 * 86_400.0
"""Seconds, by our own clock, that a lost peer is remembered, and looked for now and then."""
SHARED_FOR = 0.5
"""Part of these times in which a departed or lost peer is told to others: told for ever, it would never be forgotten."""
_EVICTION_TRIES = 16
"""Records that are looked at for one that may be evicted."""
_SUM = 1 << 8 * ID_SIZE


class Status(StrEnum):
    """How a peer is."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"
    LEFT = "left"


_TTL = {Status.LEFT: TOMBSTONE_TTL, Status.LOST: LOST_TTL}
PRESENT = (Status.ALIVE, Status.SUSPECT)
"""Of peers that count."""


@dataclass(slots=True, eq=False)
class Record:
    """One peer.

    Attributes:
        signed: Its newest entry.
        status: How it is.
        since: When the status began, on our clock.
        source: Who told us of the peer first; ourselves if the peer came to us.
        met: Whether we have linked with it: then it surely exists.
        at: Its place in the catalog's list of peers of that status.
    """

    signed: SignedEntry
    status: Status
    since: float
    source: PeerId
    met: bool = False
    at: int = 0

    @property
    def peer_id(self) -> PeerId:
        """Whose it is."""
        return self.signed.entry.peer_id

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
        self._by_id: dict[bytes, Record] = {}
        self._lists: dict[Status, list[Record]] = {status: [] for status in Status}
        self._gone: dict[PeerId, Record] = {}
        self._shares: dict[PeerId, dict[PeerId, Record]] = {}
        self._sums = [0] * BUCKETS
        self._summary: tuple[bytes, tuple[bytes, ...]] | None = None

    def __len__(self) -> int:
        """How many peers are alive or suspect."""
        return len(self._lists[Status.ALIVE]) + len(self._lists[Status.SUSPECT])

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def get(self, peer_id: PeerId) -> Record | None:
        """What is known of a peer."""
        return self._records.get(peer_id)

    def find(self, entry_id: bytes) -> Record | None:
        """The record with the entry of that name."""
        return self._by_id.get(entry_id)

    def of(self, status: Status) -> list[Record]:
        """Peers of a status, in no order."""
        return list(self._lists[status])

    def draw(self, status: Status, rng: random.Random) -> Record | None:
        """A random peer of a status, if there is one."""
        listed = self._lists[status]
        return listed[int(rng.random() * len(listed))] if listed else None

    def is_news(self, signed: SignedEntry) -> bool:
        """Whether the entry is of this network and newer than what is known. Its signature is not looked at."""
        entry = signed.entry
        if entry.network != self._network or entry.peer_id == self._me:
            return False
        record = self._records.get(entry.peer_id)
        return record is None or entry.version > record.version

    def merge(
        self, signed: SignedEntry, now: float, *, source: PeerId, status: Status | None = None
    ) -> tuple[Record, Status | None] | None:
        """Take an entry that is news and whose signature holds.

        Args:
            signed: The entry.
            now: Our clock.
            source: Who told us.
            status: How the peer is; by default as the entry says, alive or left.

        Returns:
            The record and its status before, None if the peer was unknown; or None if there is no room, or ``source``
            has told us of too many.
        """
        entry = signed.entry
        peer_id = entry.peer_id
        record = self._records.get(peer_id)
        if status is None:
            status = Status.LEFT if entry.left else Status.ALIVE
        if record is None:
            if not self._admit(source):
                return None
            record = self._records[peer_id] = Record(signed, status, now, source)
            self._shares.setdefault(source, {})[peer_id] = record
            self._list(record)
            before = None
        else:
            before = record.status
            self._uncount(record)
            record.signed = signed
            self.set_status(record, status, now)
        self._count(record)
        return record, before

    def set_status(self, record: Record, status: Status, now: float) -> None:
        """Note how a peer is."""
        if record.status is not status:
            self._unlist(record)
            record.status, record.since = status, now
            self._list(record)

    def expire(self, now: float) -> None:
        """Forget what has been gone for long."""
        for record in list(self._gone.values()):
            if now - record.since > _TTL[record.status]:
                self._forget(record)

    # --- comparison

    def summary(self, own: SignedEntry) -> tuple[bytes, ...]:
        """The sum of each bucket's names; equal for catalogs that hold the same entries.

        A sum is no commitment: who may add entries of his own can make two sets look alike. All he gains is that his own are
        not told on.
        """
        if self._summary is None or self._summary[0] != own.id:
            sums = list(self._sums)
            mine = bucket_of(self._me)
            sums[mine] = (sums[mine] + int.from_bytes(own.id, "big")) % _SUM
            self._summary = (own.id, tuple(value.to_bytes(ID_SIZE, "big") for value in sums))
        return self._summary[1]

    def in_buckets(self, buckets: set[int], now: float) -> list[Record]:
        """Records of some buckets that are told to others."""
        return [
            record
            for peer_id, record in self._records.items()
            if peer_id.key[0] % BUCKETS in buckets and self.is_told(record, now)
        ]

    def is_told(self, record: Record, now: float) -> bool:
        """Whether others may still be told of a peer."""
        ttl = _TTL.get(record.status)
        return ttl is None or now - record.since <= SHARED_FOR * ttl

    # --- bounds

    def is_open_to(self, source: PeerId) -> bool:
        """Whether a new peer that ``source`` tells of could be taken."""
        share = len(self._shares.get(source, ()))
        return share < MAX_PER_SOURCE and (len(self._records) < MAX_PEERS or self._victim(share) is not None)

    def _admit(self, source: PeerId) -> bool:
        """Make room for one more from ``source``."""
        share = len(self._shares.get(source, ()))
        if share >= MAX_PER_SOURCE:
            return False
        if len(self._records) < MAX_PEERS:
            return True
        victim = self._victim(share)
        if victim is None:
            return False
        self._forget(victim)
        return True

    def _victim(self, share: int) -> Record | None:
        """Who gives way to a source that has told us of ``share`` peers: never one whose source has told of fewer."""
        for record in islice(self._gone.values(), _EVICTION_TRIES):
            if len(self._shares[record.source]) >= share:
                return record
        heaviest = max(self._shares.values(), key=len)
        if len(heaviest) > share + 1:
            for record in islice(reversed(heaviest.values()), _EVICTION_TRIES):
                if not record.met:
                    return record
        return None

    def _forget(self, record: Record) -> None:
        peer_id = record.peer_id
        del self._records[peer_id]
        self._unlist(record)
        self._uncount(record)
        share = self._shares[record.source]
        del share[peer_id]
        if not share:
            del self._shares[record.source]

    # --- indices

    def _list(self, record: Record) -> None:
        listed = self._lists[record.status]
        record.at = len(listed)
        listed.append(record)
        if record.status in _TTL:
            self._gone[record.peer_id] = record

    def _unlist(self, record: Record) -> None:
        listed = self._lists[record.status]
        last = listed.pop()
        if last is not record:
            listed[record.at] = last
            last.at = record.at
        self._gone.pop(record.peer_id, None)

    def _count(self, record: Record) -> None:
        self._summary = None
        entry_id = record.signed.id
        self._by_id[entry_id] = record
        bucket = bucket_of(record.peer_id)
        self._sums[bucket] = (self._sums[bucket] + int.from_bytes(entry_id, "big")) % _SUM

    def _uncount(self, record: Record) -> None:
        self._summary = None
        entry_id = record.signed.id
        if self._by_id.get(entry_id) is record:
            del self._by_id[entry_id]
        bucket = bucket_of(record.peer_id)
        self._sums[bucket] = (self._sums[bucket] - int.from_bytes(entry_id, "big")) % _SUM


def bucket_of(peer_id: PeerId) -> int:
    """In which part of the catalog a peer is compared."""
    return peer_id.key[0] % BUCKETS
