"""Storage that lives and dies with the process."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from p2praft.raft.effects import ChunkWrite, HardState, Restored, Write
from p2praft.raft.messages import Base, LogEntry, Snapshot
from p2praft.storage.base import Storage


class MemoryStorage(Storage):
    """Keeps the newest snapshot and its incarnation; the entries are in the engine's memory already.

    Args:
        keep: Remember entries and state too, so that :meth:`load` returns them: for tests of crashes and restarts.
    """

    volatile = True
    blocking = False

    def __init__(self, *, incarnation: bytes | None = None, keep: bool = False) -> None:
        self.incarnation = incarnation or secrets.token_bytes(8)
        self.archives: list[Restored] = []
        self._keep = keep
        self._state = HardState()
        self._base: Base | None = None
        self._entries: list[LogEntry] = []
        self._snapshot: Snapshot | None = None
        self._chunks: dict[int, bytes] = {}
        self._pending: dict[int, bytes] = {}

    def load(self) -> Restored:
        return Restored(state=self._state, entries=tuple(self._entries), base=self._base, snapshot=self._snapshot)

    def write(self, writes: Sequence[Write | ChunkWrite]) -> None:
        for write in writes:
            if isinstance(write, ChunkWrite):
                self._pending[write.number] = write.data
                continue
            if write.clear:
                if write.archive and self._keep:
                    self.archives.append(self.load())
                self._entries.clear()
                self._base = self._snapshot = None
                self._chunks, self._pending = {}, {}
            if write.snapshot is not None:
                self._snapshot = write.snapshot
                self._chunks, self._pending = self._pending, {}
            if self._keep:
                self._remember(write)

    def chunk(self, number: int, *, pending: bool = False) -> bytes | None:
        return (self._pending if pending else self._chunks).get(number)

    def close(self) -> None:
        """Nothing is held."""

    def _remember(self, write: Write) -> None:
        if write.state is not None:
            self._state = write.state
        begin = self._base.last.index if self._base else 0
        if write.base is not None:
            del self._entries[: write.base.last.index - begin]
            self._base = write.base
            begin = self._base.last.index
        if write.replace_from is not None:
            self._entries[write.replace_from - begin - 1 :] = write.entries
