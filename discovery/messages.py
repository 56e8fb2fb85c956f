"""What neighbours say to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from discovery.entry import ID_SIZE, SignedEntry, Version
from transport import PeerId, Protocol
from transport.wire import Range, Size

BUCKETS = 64
"""The catalog is compared in this many parts, by the first bits of the PeerId."""
MAX_ENTRIES = 32
"""Entries in one message."""
MAX_BATCH = 96 * 1024
"""Bytes of entries in one message; an entry of the largest size is far below it."""
MAX_IDS = 1024
"""Names of entries in one message."""
MAX_WANTED = 256
"""Entries that one message may ask for."""
MAX_SUSPECTS = 256
"""Accusations in one message."""
MAX_REFERRED = 8
"""Members that whoever is not taken in is told of."""

Entries = Annotated[tuple[SignedEntry, ...], Size(1, MAX_ENTRIES)]
EntryId = Annotated[bytes, Size(ID_SIZE, ID_SIZE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Opens the conversation, the dialler's first: the sender's own entry.

    Attributes:
        entry: Signed by the sender.
        lonely: Whether the sender has no neighbour yet: a full view then makes room, now and then.
    """

    entry: SignedEntry
    lonely: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """Instead of a hello: the acceptor has no room, and tells whom else to try. The link ends with it."""

    entries: Annotated[tuple[SignedEntry, ...], Size(0, MAX_REFERRED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Entries that the receiver asked for, or that their owners have just made."""

    entries: Entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Have:
    """Names of entries that the sender can give; who lacks some asks for them, once."""

    ids: Annotated[tuple[EntryId, ...], Size(1, MAX_IDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Asks for entries by name. Those of peers that the giver has lost come as :class:`Lost`, the others as :class:`News`."""

    ids: Annotated[tuple[EntryId, ...], Size(1, MAX_WANTED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Entries that the receiver asked for, of peers that the sender has lost: to be looked for, not counted on."""

    entries: Entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The sum of each bucket's names in the sender's catalog: the start of an anti-entropy exchange."""

    buckets: Annotated[tuple[EntryId, ...], Size(BUCKETS, BUCKETS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The names of all that the sender knows in some buckets; the receiver tells what it has beside, and asks for what it lacks.

    Attributes:
        buckets: Which; as many as fit, the rest comes at the next exchange.
        low: Of the buckets' peers only those from here on count, for a bucket that does not fit.
        high: And those up to here.
        ids: What it has of them.
    """

    buckets: Annotated[tuple[Annotated[int, Range(0, BUCKETS - 1)], ...], Size(1, BUCKETS)]
    low: PeerId
    high: PeerId
    ids: Annotated[tuple[EntryId, ...], Size(0, MAX_IDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accusation:
    """Somebody cannot reach a peer.

    Attributes:
        peer_id: The suspect.
        version: Of the suspect's newest entry that the accuser knows; a newer one refutes it.
        accuser: Who found out. Not proven: it can only hasten what the suspect can refute anyway.
    """

    peer_id: PeerId
    version: Version
    accuser: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Peers that somebody cannot reach. One that hears of itself answers with a newer entry."""

    suspects: Annotated[tuple[Accusation, ...], Size(1, MAX_SUSPECTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Asks for a sign of life, at once."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Answers the ping of that number."""

    number: int


Message = Hello | News | Summary | Digest | Suspicion | Lost | Have | Want | Ping | Pong | Referral

DISCOVERY = Protocol(
    name="discovery/1",
    messages={
        1: Hello,
        2: News,
        3: Summary,
        4: Digest,
        5: Suspicion,
        6: Lost,
        7: Have,
        8: Want,
        9: Ping,
        10: Pong,
        11: Referral,
    },
    max_frame=128 * 1024,
)


def batches(entries: Sequence[SignedEntry]) -> Iterator[tuple[SignedEntry, ...]]:
    """Split entries so that each part fits into one message."""
    batch: list[SignedEntry] = []
    size = 0
    for signed in entries:
        if batch and (len(batch) == MAX_ENTRIES or size + signed.size > MAX_BATCH):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(signed)
        size += signed.size
    if batch:
        yield tuple(batch)
