"""The replicated log as one member holds it: in memory, from its base on, with what is known to be durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from p2praft.raft.digest import digest_after
from p2praft.raft.entries import Base, Carried, Commands, LogEntry, NoOp, OpenSession
from p2praft.raft.histories.entries import Past, Seal
from p2praft.raft.histories.past import fold
from p2praft.raft.types import NO_DIGEST, START, Cursor, Index, Member, Term

TRAIL_BYTES = 16 * 1024 * 1024
"""Bytes of compactable entries that are kept at most for members that lag a little."""


class Log:
    """Contiguous entries behind a base, the voter sets in them, and the durable prefix.

    *Marks* are the few entries that say something of the log itself: everything but commands, sessions and no-ops.

    Attributes:
        base: Position of the newest compacted entry; everything up to there is committed.
        last: Position of the newest entry.
        closed: Whether the newest mark ends the log: only no-ops may follow.
        commands: Entries with commands in the whole log, those that were compacted included.
        stable: Highest index such that it and all before it are durable. A write that was overtaken by a truncation
            vouches for no more than what the truncation left (the A-B-A race of asynchronous appends).
    """

    def __init__(self, entries: Sequence[LogEntry] = (), base: Base | None = None) -> None:
        self._entries: list[LogEntry] = []
        self._digests: list[bytes] = []
        self._marks: list[LogEntry] = []
        self._voters: list[tuple[Index, tuple[Member, ...]]] = []
        self._dirty_from: Index | None = None
        self._writes: deque[list[int]] = deque()  # [serial, highest index it makes durable]
        self._base: Base | None = None
        self._past: Past | None = None
        self.base = self.last = START
        self.commands = 0
        self.closed = False
        self.stable = Index(0)
        if base is not None:
            self._begin_behind(base)
        self.append(entries)
        self._dirty_from = None
        self.stable = self.last.index

    @property
    def last_time(self) -> float:
        """Time of the newest entry; 0 if there is none."""
        if self._entries:
            return self._entries[-1].time
        return self._base.time if self._base else 0.0

    @property
    def marks(self) -> Sequence[LogEntry]:
        """The marks behind the base, in their order."""
        return self._marks

    @property
    def voters(self) -> tuple[Member, ...]:
        """The newest voter set in the log, committed or not (thesis, section 4.1)."""
        return self._voters[-1][1] if self._voters else ()

    @property
    def voters_before(self) -> tuple[Member, ...]:
        """The voter set before the newest; empty if there was none, or it is behind the log's beginning."""
        return self._voters[-2][1] if len(self._voters) > 1 else ()

    @property
    def voters_index(self) -> Index:
        """Where the newest voter set stands."""
        return self._voters[-1][0] if self._voters else Index(0)

    def term_at(self, index: int) -> Term | None:
        """Term of the entry at ``index``; None beyond the end and for what was compacted."""
        at = index - self.base.index
        if at <= 0:
            return None if at else self.base.term
        return self._entries[at - 1].term if at <= len(self._entries) else None

    def digest_at(self, index: int) -> bytes:
        """Digest at ``index``, which is from the base to the end; :data:`NO_DIGEST` where none is known."""
        at = index - self.base.index
        if at > 0:
            return self._digests[at - 1]
        return self._base.digest if self._base is not None and at == 0 else NO_DIGEST

    def matches(self, position: Cursor, digest: bytes = NO_DIGEST) -> bool:
        """Whether the log holds, or held, an entry of that term at that index (paper, figure 2), and all before it alike.

        What was compacted is committed, so every leader's log agrees with it.
        """
        index = position.index
        if index < self.base.index:
            return True
        if self.term_at(index) != position.term:
            return False
        return digest == NO_DIGEST or self.digest_at(index) in (NO_DIGEST, digest)

    def contradicts(self, position: Cursor, digest: bytes) -> bool:
        """Whether the log has other content at that very position: somebody has forgotten something."""
        return self.term_at(position.index) == position.term and not self.matches(position, digest)

    def cursor_at(self, index: int) -> Cursor:
        """Position of the entry at ``index``, which must not be beyond the end; of a compacted one, without its term."""
        return Cursor(self.term_at(index) or Term(0), Index(index))

    def agreement(self, position: Cursor) -> Cursor:
        """The newest of our entries that may agree with a log that ends at ``position``.

        Whatever has a higher index or a higher term than ``position`` cannot; one round trip then skips a whole
        conflicting term (paper, end of section 5.3).
        """
        index: int = min(position.index, self.last.index)
        while index > self.base.index and self._entries[index - self.base.index - 1].term > position.term:
            index -= 1
        if index == self.base.index and self.base.term > position.term:
            index -= 1  # it differs even there: what it needs has been compacted
        return self.cursor_at(index)

    def missing_from(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """The tail of ``entries`` that we lack or hold with another term."""
        if entries and entries[0].index == self.last.index + 1:
            return entries
        for at, entry in enumerate(entries):
            if not self.matches(entry.cursor):
                return entries[at:]
        return ()

    def slice(self, first: int, last: int, max_bytes: int) -> tuple[LogEntry, ...]:
        """Entries ``first`` to ``last``, cut before ``max_bytes`` is passed but never below one entry."""
        begin = self.base.index
        total = 0
        entries = self._entries[first - begin - 1 : last - begin]
        for at, entry in enumerate(entries):
            total += entry.size
            if total > max_bytes and at:
                return tuple(entries[:at])
        return tuple(entries)

    def between(self, first: int, last: int) -> tuple[LogEntry, ...]:
        """Entries ``first`` to ``last``, however many bytes."""
        begin = self.base.index
        return tuple(self._entries[first - begin - 1 : last - begin])

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Store entries; those from the first one's index on are replaced."""
        if not entries:
            return
        first = entries[0].index
        if first <= self.last.index:
            self._truncate(first)
        self._entries.extend(entries)
        digest = self.digest_at(first - 1)
        for entry in entries:
            digest = digest_after(digest, entry)
            self._digests.append(digest)
            kind = type(entry.payload)
            if kind is Commands or kind is Carried:
                self.commands += 1
            elif kind is not NoOp and kind is not OpenSession:
                self._mark(entry)
        self._dirty_from = first if self._dirty_from is None else min(self._dirty_from, first)
        self.last = entries[-1].cursor

    def cut(self, first: Index) -> None:
        """Drop the entries from ``first`` on."""
        self._truncate(first)
        self._dirty_from = first if self._dirty_from is None else min(self._dirty_from, first)

    def _mark(self, entry: LogEntry) -> None:
        self._marks.append(entry)
        self._past = None
        self.closed = type(entry.payload) is Seal
        if (voters := getattr(entry.payload, "voters_from_here", None)) is not None:
            self._voters.append((entry.index, voters))

    # --- compaction (paper, section 7)

    @property
    def past(self) -> Past | None:
        """What the whole log says of its history; None if it is empty."""
        if self._past is None or self._past.commands != self.commands:
            self._past = self.past_at(self.last.index)
        return self._past

    def past_at(self, index: int) -> Past | None:
        """What the log up to ``index`` says of its history; None at its beginning."""
        marks = [mark for mark in self._marks if mark.index <= index]
        commands = self.commands - self._count_behind(index)
        before = self._base.past if self._base else None
        return fold(before, marks, commands - (before.commands if before else 0))

    def base_at(self, index: int) -> Base:
        """What a log that begins behind ``index`` would know of all before; ``index`` is from the base to the end."""
        entry = self._entries[index - self.base.index - 1] if index > self.base.index else None
        if entry is None:
            assert self._base is not None
            return self._base
        past = self.past_at(index)
        assert past is not None
        voters_index, voters = next((at, voters) for at, voters in reversed(self._voters) if at <= index)
        return Base(
            last=entry.cursor,
            time=entry.time,
            digest=self.digest_at(index),
            voters=voters,
            voters_index=voters_index,
            past=past,
        )

    def _count_behind(self, index: int) -> int:
        """Entries with commands behind ``index``."""
        behind = self._entries[max(0, index - self.base.index) :]
        return sum(isinstance(entry.payload, Commands | Carried) for entry in behind)

    def trail(self, index: int, count: int) -> Index:
        """Where to compact to if a snapshot reaches ``index``: ``count`` entries or 16 MiB before it stay."""
        size, at = 0, int(index)
        while at > max(self.base.index, index - count):
            size += self._entries[at - self.base.index - 1].size
            if size > TRAIL_BYTES:
                break
            at -= 1
        return Index(at)

    def begin_behind(self, base: Base) -> None:
        """Drop everything up to ``base``; and all behind it too unless the log agrees with it there."""
        if self.matches(base.last, base.digest):
            del self._entries[: base.last.index - self.base.index]
            del self._digests[: base.last.index - self.base.index]
        else:
            self._entries.clear()
            self._digests.clear()
            self._dirty_from = Index(base.last.index + 1)
            self.stable = Index(min(self.stable, base.last.index))
            for write in self._writes:
                write[1] = 0  # what it held is gone; only the next write vouches for the base
        self._begin_behind(base)

    def _begin_behind(self, base: Base) -> None:
        self.base = base.last
        self._base = base
        self._past = None
        self._marks = [mark for mark in self._marks if self._entries and mark.index > base.last.index]
        keep = [item for item in self._voters if self._entries and item[0] > base.last.index]
        self._voters = [(base.voters_index, base.voters), *keep]
        self.last = self._entries[-1].cursor if self._entries else self.base
        self.commands = base.past.commands + self._count_behind(base.last.index)

    # --- durability

    def take_unwritten(self, serial: int) -> tuple[Index | None, tuple[LogEntry, ...]]:
        """What changed since the last call, to be made durable by the write ``serial``."""
        first, self._dirty_from = self._dirty_from, None
        self._writes.append([serial, self.last.index])
        if first is None:
            return None, ()
        first = Index(max(first, self.base.index + 1))
        return first, tuple(self._entries[first - self.base.index - 1 :])

    def persisted(self, serial: int) -> None:
        """The write ``serial``, and all before it, are durable."""
        while self._writes and self._writes[0][0] <= serial:
            self.stable = Index(max(self.stable, self._writes.popleft()[1]))

    @property
    def has_unwritten(self) -> bool:
        """Whether entries wait for a write."""
        return self._dirty_from is not None

    def _truncate(self, first: Index) -> None:
        self.commands -= self._count_behind(first - 1)
        del self._entries[first - self.base.index - 1 :]
        del self._digests[first - self.base.index - 1 :]
        self.last = self._entries[-1].cursor if self._entries else self.base
        while self._marks and self._marks[-1].index >= first:
            self._marks.pop()
        self._past = None
        self.closed = bool(self._marks) and type(self._marks[-1].payload) is Seal
        while self._voters and self._voters[-1][0] >= first:
            self._voters.pop()
        self.stable = Index(min(self.stable, first - 1))
        for write in self._writes:
            write[1] = min(write[1], first - 1)
