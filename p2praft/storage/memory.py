"""Storage that lives and dies with the process."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from p2praft.errors import StorageError
from p2praft.raft.effects import Archive, ChunkWrite, Restored, Write
from p2praft.raft.entries import LogEntry
from p2praft.raft.types import later_incarnation
from p2praft.storage.base import Archived, Storage


@dataclass(frozen=True, slots=True)
class _Kept:
    """An archive with its contents."""

    archived: Archived
    restored: Restored
    chunks: tuple[bytes, ...]


class MemoryStorage(Storage):
    """Keeps the newest snapshot and what was archived; the entries are in the engine's memory already.

    Args:
        incarnation: A random one if None.
        keep: Remember the entries too, so that :meth:`load` returns them: for tests of crashes and restarts.
    """

    volatile = True
    blocking = False
    start = 1

    def __init__(self, *, incarnation: bytes | None = None, keep: bool = False) -> None:
        self.incarnation = incarnation or later_incarnation(bytes(8), secrets.token_bytes(4))
        self._keep = keep
        self._restored = Restored()
        self._entries: list[LogEntry] = []
        self._archives: list[_Kept] = []
        self._chunks: dict[int, bytes] = {}
        self._pending: dict[int, bytes] = {}

    def load(self) -> Restored:
        return replace(self._restored, entries=tuple(self._entries))

    def put(self, restored: Restored, chunks: Sequence[bytes]) -> None:
        """Hold this instead, as if a copy of a disk had been put back: for tests."""
        self._restored = replace(restored, entries=())
        self._entries = list(restored.entries)
        self._chunks = dict(enumerate(chunks))

    def write(self, writes: Sequence[Write | ChunkWrite]) -> None:
        for write in writes:
            if isinstance(write, ChunkWrite):
                self._pending[write.number] = write.data
            else:
                self._write(write)

    def chunk(self, number: int, *, pending: bool = False) -> bytes | None:
        return (self._pending if pending else self._chunks).get(number)

    def archives(self) -> tuple[Archived, ...]:
        return tuple(kept.archived for kept in self._archives)

    def load_archive(self, number: int) -> tuple[Restored, Iterator[bytes]]:
        if not 1 <= number <= len(self._archives):
            raise StorageError(f"there is no archive {number}; `archive list` shows those that there are")
        kept = self._archives[number - 1]
        return kept.restored, iter(kept.chunks)

    def close(self) -> None:
        """Nothing is held."""

    def _write(self, write: Write) -> None:
        held = self._restored
        if write.snapshot is not None:
            held = replace(held, snapshot=write.snapshot)
            self._chunks, self._pending = self._pending, {}
        if write.base is not None:
            begin = held.base.last.index if held.base else 0
            del self._entries[: write.base.last.index - begin]
            held = replace(held, base=write.base)
        self._restored = held
        for archive in write.archives:
            self._archive(archive)
        if write.clear:
            self._restored = Restored(state=held.state, record=held.record)
            self._entries.clear()
            self._chunks, self._pending = {}, {}
        if write.revive is not None:
            self._revive(write.revive)
        if write.incarnation is not None:
            self.incarnation = write.incarnation
        self._restored = replace(
            self._restored, state=write.state or self._restored.state, record=write.record or self._restored.record
        )
        if self._keep and write.replace_from is not None:
            begin = self._restored.base.last.index if self._restored.base else 0
            self._entries[write.replace_from - begin - 1 :] = write.entries

    def _revive(self, history: bytes) -> None:
        kept = next(
            kept
            for kept in reversed(self._archives)
            if kept.archived.ended and kept.archived.ended.branch.history == history
        )
        self.put(replace(kept.restored, state=self._restored.state, record=self._restored.record), kept.chunks)

    def _archive(self, archive: Archive) -> None:
        held = self._restored
        restored = Restored(entries=archive.entries, base=held.base, snapshot=held.snapshot)
        chunks = tuple(self._chunks[at] for at in range(held.snapshot.chunks)) if held.snapshot else ()
        archived = Archived(number=len(self._archives) + 1, ended=archive.ended, whole=archive.whole)
        self._archives.append(_Kept(archived, restored, chunks))
