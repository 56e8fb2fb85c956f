"""What a group's log is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from p2praft.raft.effects import ChunkWrite, Restored, Write


class Storage(ABC):
    """Keeps one group's hard state, its entries and its newest snapshot.

    A snapshot comes in chunks, beside the writes; they count for nothing until a write names the snapshot.

    Attributes:
        volatile: Whether it dies with the process.
        incarnation: 8 random bytes, born with the storage.
        blocking: Whether :meth:`write` waits for a disk and so belongs on a thread.
    """

    volatile: bool
    incarnation: bytes
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
    def close(self) -> None:
        """Release what is held; idempotent."""
