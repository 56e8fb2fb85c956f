"""What a group's log is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from p2praft.raft.effects import ChunkWrite, Restored, Write
from p2praft.raft.histories.messages import Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A log that was kept aside.

    Attributes:
        number: By which it is asked for, from 1; it is never used again.
        ended: Which history it is of, where the log ends, and in favour of which history it was given up.
            None for what release 0.1 put aside, which did not say, and where it is damaged.
        whole: Whether it holds all that the history ever acknowledged, as far as is known.
    """

    number: int
    ended: Ended | None
    whole: bool


class Storage(ABC):
    """Keeps one group's hard state, its entries and its newest snapshot, and the logs that were kept aside.

    A snapshot comes in chunks, beside the writes; they count for nothing until a write names the snapshot.

    Attributes:
        volatile: Whether it dies with the process.
        incarnation: 8 bytes, born with the storage; of one peer's the greater is the later.
        start: How often the storage was opened, this time included.
        blocking: Whether :meth:`write` waits for a disk and so belongs on a thread.
    """

    volatile: bool
    incarnation: bytes
    start: int
    blocking: bool

    @abstractmethod
    def load(self) -> Restored:
        """What was written last.

        Raises:
            StorageError: It cannot be read or cannot be trusted.
        """

    @abstractmethod
    def write(self, writes: Sequence[Write | ChunkWrite]) -> None:
        """Make all of ``writes`` durable, in order, as one transaction.

        Raises:
            StorageError: It could not; nothing of it may be taken for durable.
        """

    @abstractmethod
    def chunk(self, number: int, *, pending: bool = False) -> bytes | None:
        """A chunk of the newest snapshot; None if there is none. May be called beside :meth:`write`, on another thread.

        Args:
            number: Which, from 0.
            pending: Of the snapshot that is being stored and is not named yet.

        Raises:
            StorageError: It cannot be read or cannot be trusted.
        """

    @abstractmethod
    def archives(self) -> tuple[Archived, ...]:
        """The logs that were kept aside, the oldest first. May be called beside :meth:`write`, on another thread.

        Raises:
            StorageError: It cannot be read.
        """

    @abstractmethod
    def load_archive(self, number: int) -> tuple[Restored, Iterator[bytes]]:
        """One of them: its log and, if there is one, its snapshot's chunks in order. Like :meth:`archives`, on any thread.

        The chunks are read one by one; the same error may come with any of them.

        Raises:
            StorageError: There is no such archive, or it cannot be read or trusted; the message says which.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what is held; idempotent."""
