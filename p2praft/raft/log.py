"""The replicated log as one member holds it: in memory, with what is known to be durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from p2praft.raft.messages import START, Configuration, Cursor, Genesis, Index, LogEntry, Member, Term


class Log:
    """Contiguous entries from index 1, the voter sets in them, and the durable prefix.

    Attributes:
        stable: Highest index such that it and all before it are durable. A write that was overtaken by a truncation
            vouches for no more than what the truncation left (the A-B-A race of asynchronous appends).
    """

    def __init__(self, entries: Sequence[LogEntry] = ()) -> None:
        self._entries: list[LogEntry] = []
        self._voters: list[tuple[Index, tuple[Member, ...]]] = []
        self._dirty_from: Index | None = None
        self._writes: deque[list[int]] = deque()  # [serial, highest index it makes durable]
        self.stable = Index(0)
        self.append(entries)
        self._dirty_from = None
        self.stable = self.last.index

    @property
    def last(self) -> Cursor:
        """Position of the newest entry."""
        return self._entries[-1].cursor if self._entries else START

    @property
    def last_time(self) -> float:
        """Time of the newest entry; 0 if there is none."""
        return self._entries[-1].time if self._entries else 0.0

    @property
    def genesis(self) -> Genesis | None:
        """Of the history that the log belongs to."""
        payload = self._entries[0].payload if self._entries else None
        return payload if isinstance(payload, Genesis) else None

    @property
    def voters(self) -> tuple[Member, ...]:
        """The newest voter set in the log, committed or not (thesis, section 4.1)."""
        return self._voters[-1][1] if self._voters else ()

    @property
    def voters_index(self) -> Index:
        """Where the newest voter set stands."""
        return self._voters[-1][0] if self._voters else Index(0)

    def term_at(self, index: int) -> Term | None:
        """Term of the entry at ``index``; None beyond the end."""
        if index == 0:
            return Term(0)
        return self._entries[index - 1].term if index <= len(self._entries) else None

    def matches(self, position: Cursor) -> bool:
        """Whether the log holds an entry of that term at that index (paper, figure 2)."""
        return self.term_at(position.index) == position.term

    def cursor_at(self, index: int) -> Cursor:
        """Position of the entry at ``index``, which must be in the log or 0."""
        return self._entries[index - 1].cursor if index else START

    def agreement(self, position: Cursor) -> Cursor:
        """The newest of our entries that may agree with a log that ends at ``position``.

        Whatever has a higher index or a higher term than ``position`` cannot; one round trip then skips a whole
        conflicting term (paper, end of section 5.3).
        """
        index = min(position.index, len(self._entries))
        while index and self._entries[index - 1].term > position.term:
            index -= 1
        return self.cursor_at(index)

    def missing_from(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """The tail of ``entries`` that we lack or hold with another term."""
        for at, entry in enumerate(entries):
            if self.term_at(entry.index) != entry.term:
                return entries[at:]
        return ()

    def slice(self, first: int, last: int, max_bytes: int) -> tuple[LogEntry, ...]:
        """Entries ``first`` to ``last``, cut before ``max_bytes`` is passed but never below one entry."""
        entries = self._entries[first - 1 : last]
        total = 0
        for at, entry in enumerate(entries):
            total += entry.size
            if total > max_bytes and at:
                return tuple(entries[:at])
        return tuple(entries)

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Store entries; those from the first one's index on are replaced."""
        if not entries:
            return
        first = entries[0].index
        if first <= len(self._entries):
            self._truncate(first)
        self._entries.extend(entries)
        for entry in entries:
            if isinstance(entry.payload, Genesis):
                self._voters.append((entry.index, entry.payload.founders))
            elif isinstance(entry.payload, Configuration):
                self._voters.append((entry.index, entry.payload.voters))
        self._dirty_from = first if self._dirty_from is None else min(self._dirty_from, first)

    def take_unwritten(self, serial: int) -> tuple[Index | None, tuple[LogEntry, ...]]:
        """What changed since the last call, to be made durable by the write ``serial``."""
        first, self._dirty_from = self._dirty_from, None
        self._writes.append([serial, len(self._entries)])
        return first, tuple(self._entries[first - 1 :]) if first is not None else ()

    def persisted(self, serial: int) -> None:
        """The write ``serial``, and all before it, are durable."""
        while self._writes and self._writes[0][0] <= serial:
            self.stable = Index(max(self.stable, self._writes.popleft()[1]))

    @property
    def has_unwritten(self) -> bool:
        """Whether entries wait for a write."""
        return self._dirty_from is not None

    def _truncate(self, first: Index) -> None:
        del self._entries[first - 1 :]
        while self._voters and self._voters[-1][0] >= first:
            self._voters.pop()
        self.stable = Index(min(self.stable, first - 1))
        for write in self._writes:
            write[1] = min(write[1], first - 1)
