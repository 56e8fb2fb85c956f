"""Storage that lives and dies with the process."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from p2praft.raft.effects import HardState, Restored, Write
from p2praft.raft.messages import LogEntry
from p2praft.storage.base import Storage


class MemoryStorage(Storage):
    """Keeps nothing beyond the engine's own memory but its incarnation: the engine holds the log already.

    Args:
        keep: Remember what is written, so that :meth:`load` returns it: for tests of crashes and restarts.
    """

    volatile = True
    blocking = False

    def __init__(self, *, incarnation: bytes | None = None, keep: bool = False) -> None:
        self.incarnation = incarnation or secrets.token_bytes(8)
        self.archives: list[Restored] = []
        self._keep = keep
        self._state = HardState()
        self._entries: list[LogEntry] = []

    def load(self) -> Restored:
        return Restored(state=self._state, entries=tuple(self._entries))

    def write(self, writes: Sequence[Write]) -> None:
        if not self._keep:
            return
        for write in writes:
            if write.clear:
                if write.archive:
                    self.archives.append(self.load())
                self._entries.clear()
            if write.state is not None:
                self._state = write.state
            if write.replace_from is not None:
                self._entries[write.replace_from - 1 :] = write.entries

    def close(self) -> None:
        """Nothing is held."""
