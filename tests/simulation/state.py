"""What the simulated members replicate: a set that only grows, so that histories which end can be brought together."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgpack

from p2praft.raft.effects import Restored
from p2praft.raft.entries import Carried, Commands, LogEntry, Origin
from p2praft.raft.histories.entries import source_of
from p2praft.raft.histories.messages import Ended


@dataclass(slots=True)
class State:
    """One member's state.

    Attributes:
        applied: Index of the last entry.
        chain: Checksum over all entries that were applied.
        words: The set.
        carried: Which histories' ends were brought over, with the digest of the list.
    """

    applied: int = 0
    chain: int = 0
    words: set[bytes] = field(default_factory=set)
    carried: dict[bytes, bytes] = field(default_factory=dict)

    def apply(self, entry: LogEntry) -> None:
        """Apply the next entry."""
        self.applied = entry.index
        self.chain = zlib.crc32(repr((self.chain, entry.term, entry.payload)).encode())
        payload = entry.payload
        if isinstance(payload, Commands):
            self.words.update(payload.commands)
        elif isinstance(payload, Carried) and payload.of not in self.carried:
            self.carried[payload.of] = payload.digest
            self.words.update(payload.commands)

    def chunks(self) -> list[bytes]:
        """A snapshot."""
        data = msgpack.packb([self.applied, self.chain, sorted(self.words), sorted(self.carried.items())])
        third = -(-len(data) // (1 + self.applied % 4))
        return [data[at : at + third] for at in range(0, len(data), third)]

    @classmethod
    def of(cls, chunks: Iterable[bytes]) -> State:
        """The state of a snapshot."""
        applied, chain, words, carried = msgpack.unpackb(b"".join(chunks))
        return cls(applied, chain, set(words), dict(carried))


def state_of(restored: Restored, chunks: Iterator[bytes], upto: int) -> State:
    """What a stored log comes to, up to an index."""
    state = State.of(chunks) if restored.snapshot is not None else State()
    for entry in restored.entries:
        if state.applied < entry.index <= upto:
            state.apply(entry)
    return state


def carry(ended: Ended, words: Iterable[bytes]) -> Carried:
    """The entry that brings a history's words over."""
    listed = tuple(sorted(words))
    source = source_of(ended.branch)
    return Carried(
        end=ended.branch,
        digest=hashlib.sha256(b"".join(listed)).digest(),
        first=1,
        total=len(listed),
        origins=tuple(Origin(history=source, session=0, number=at + 1) for at in range(len(listed))),
        commands=listed,
    )
