"""What neighbours say to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from discovery.entry import SignedEntry, Version
from transport import PeerId, Protocol
from transport.wire import Range, Size

BUCKETS = 64
"""The catalog is compared in this many parts, by the first bits of the PeerId."""
MAX_ENTRIES = 32
"""Entries in one message."""
MAX_BATCH = 96 * 1024
"""Bytes of entries in one message; an entry of the largest size is far below it."""
MAX_DIGEST = 256
"""Lines in one digest."""

Entries = Annotated[tuple[SignedEntry, ...], Size(1, MAX_ENTRIES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Opens the conversation, both ways: the sender's own entry."""

    entry: SignedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Entries that the receiver may lack; what is new to it, it passes on."""

    entries: Entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A hash of each bucket of the sender's catalog: the start of an anti-entropy exchange."""

    buckets: Annotated[tuple[Annotated[bytes, Size(8, 8)], ...], Size(BUCKETS, BUCKETS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One known entry, by owner and version."""

    peer_id: PeerId
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """All that the sender knows in some buckets; the receiver answers with what is newer or missing there.

    Attributes:
        buckets: Which; as many lines as fit, the rest comes at the next exchange.
        lines: What it has in them.
        answer: Whether the receiver should send its own digest of the same buckets.
    """

    buckets: Annotated[tuple[Annotated[int, Range(0, BUCKETS - 1)], ...], Size(1, BUCKETS)]
    lines: Annotated[tuple[Line, ...], Size(0, MAX_DIGEST)]
    answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """The sender, or who told it, cannot reach these peers. One that hears of itself answers with a newer entry."""

    suspects: Annotated[tuple[Line, ...], Size(1, MAX_DIGEST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Entries that the receiver may lack, of peers that the sender has lost: to be looked for, not counted on."""

    entries: Entries


Message = Hello | News | Summary | Digest | Suspicion | Lost

DISCOVERY = Protocol(
    name="discovery/1",
    messages={1: Hello, 2: News, 3: Summary, 4: Digest, 5: Suspicion, 6: Lost},
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
