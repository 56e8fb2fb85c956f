"""What a group's log is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from p2praft.raft.effects import Restored, Write


class Storage(ABC):
    """Keeps one group's hard state and entries.

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
    def write(self, writes: Sequence[Write]) -> None:
        """Make all of ``writes`` durable, in order, as one transaction.

        Raises:
            StorageError: It could not; nothing of it may be taken for durable.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what is held; idempotent."""
