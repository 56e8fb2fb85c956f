"""How two catalogs are compared so that only differences travel: pure.

One side sends a :class:`~discovery.messages.Summary`: a sum for each bucket of peers. The other answers with a
:class:`~discovery.messages.Digest` of the buckets that differ: the names of what it has in them. From that the first knows
both what it lacks and what the other lacks.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from discovery.catalog import Catalog, bucket_of
from discovery.entry import SignedEntry
from discovery.messages import MAX_IDS, Digest, Summary
from transport import PeerId

LOWEST, HIGHEST = PeerId(bytes(32)), PeerId(b"\xff" * 32)


class FirstExchange:
    """Whether the catalog was once compared with a neighbour's to the end: a node then knows whom its network consists of.

    Of a network so large that one digest does not name all, it is as much as one digest names.

    Attributes:
        done: Whether it was; never taken back.
    """

    def __init__(self) -> None:
        self.done = False
        self._awaited: set[bytes] = set()

    def on_equal(self) -> None:
        """A neighbour's catalog was found equal to ours."""
        self.done = True
        self._awaited = set()

    def on_digest(self, lacking: Iterable[bytes]) -> None:
        """A neighbour has named all that it knows, and we lack the entries of these names; a later digest replaces an earlier."""
        if not self.done:
            self._awaited = set(lacking)
            self.done = not self._awaited

    def on_entry(self, name: bytes) -> None:
        """An entry of that name came, from anybody."""
        if name in self._awaited:
            self._awaited.remove(name)
            self.done = not self._awaited


def summarize(catalog: Catalog, own: SignedEntry) -> Summary:
    """The beginning of an exchange."""
    return Summary(buckets=catalog.summary(own))


def differing(catalog: Catalog, own: SignedEntry, summary: Summary) -> list[int]:
    """Buckets in which a neighbour's catalog is another than ours."""
    mine = catalog.summary(own)
    if mine == summary.buckets:
        return []
    return [at for at, (a, b) in enumerate(zip(mine, summary.buckets, strict=True)) if a != b]


def digest(catalog: Catalog, own: SignedEntry, buckets: Sequence[int], now: float, rng: random.Random) -> Digest:
    """The names in as many of these buckets as fit; of one that does not fit, a random part."""
    order = list(buckets)
    rng.shuffle(order)
    entries: dict[int, list[SignedEntry]] = {bucket: [] for bucket in order}
    for signed in _told(catalog, own, set(order), now):
        entries[bucket_of(signed.entry.peer_id)].append(signed)
    taken: list[int] = []
    ids: list[bytes] = []
    for bucket in order:
        if len(ids) + len(entries[bucket]) <= MAX_IDS:
            taken.append(bucket)
            ids.extend(signed.id for signed in entries[bucket])
    if taken:
        return Digest(buckets=tuple(taken), low=LOWEST, high=HIGHEST, ids=tuple(ids))
    # Somebody crowds one bucket, which takes no more than choosing one's keys: it is compared piece by piece.
    crowd = sorted(entries[order[0]], key=lambda signed: signed.entry.peer_id)
    start = rng.randrange(len(crowd) - MAX_IDS + 1)
    part = crowd[start : start + MAX_IDS]
    return Digest(
        buckets=(order[0],),
        low=part[0].entry.peer_id if start else LOWEST,
        high=part[-1].entry.peer_id if start + MAX_IDS < len(crowd) else HIGHEST,
        ids=tuple(signed.id for signed in part),
    )


def lacking(catalog: Catalog, own: SignedEntry, told: Digest, now: float) -> list[bytes]:
    """Names of what we have in a digest's buckets and its sender lacks; as many as one message holds."""
    theirs = set(told.ids)
    return [
        signed.id
        for signed in _told(catalog, own, set(told.buckets), now)
        if signed.id not in theirs and told.low <= signed.entry.peer_id <= told.high
    ][:MAX_IDS]


def _told(catalog: Catalog, own: SignedEntry, buckets: set[int], now: float) -> list[SignedEntry]:
    told = [record.signed for record in catalog.in_buckets(buckets, now)]
    if bucket_of(own.entry.peer_id) in buckets:
        told.append(own)
    return told
