"""Where two histories of a group meet: read off their geneses, and off what archives hold. Pure.

A genesis names, for each ancestor, the position at which the next history left it. So two histories have something in common
exactly if one history is in both lines; what they have in common ends where the first of the two lines left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2praft.raft.effects import Restored
from p2praft.raft.entries import LogEntry
from p2praft.raft.histories.entries import Branch, Genesis
from p2praft.raft.log import Log
from p2praft.raft.types import NO_DIGEST
from p2praft.storage.base import Archived, Storage


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An archive with its contents.

    Attributes:
        archived: What it is of.
        restored: The log, and the snapshot that it begins with, if any.
        chunks: The snapshot's.
    """

    archived: Archived
    restored: Restored
    chunks: tuple[bytes, ...] = ()

    @property
    def end(self) -> Branch | None:
        """Where the history ended, as far as the archive goes; None if it does not say."""
        return self.archived.ended.branch if self.archived.ended else None

    @property
    def begins(self) -> int:
        """Index behind which states can be rebuilt from it: of its snapshot, or 0."""
        return self.restored.snapshot.base.last.index if self.restored.snapshot else 0

    @property
    def entries(self) -> tuple[LogEntry, ...]:
        """The entries up to the end."""
        end = self.end
        entries = self.restored.entries
        return entries if end is None else tuple(entry for entry in entries if entry.index <= end.at.index)

    @property
    def genesis(self) -> Genesis | None:
        """Of the history that ended."""
        for entry in reversed(self.entries):
            if isinstance(entry.payload, Genesis):
                return entry.payload
        behind = self.restored.snapshot.base if self.restored.snapshot else self.restored.base
        return behind.past.genesis if behind else None

    def holds(self, position: Branch) -> bool | None:
        """Whether the log has that very position; None if it was compacted there."""
        restored, at = self.restored, position.at
        base = restored.base
        snapshot = restored.snapshot.base if restored.snapshot else None
        if snapshot is not None and at == snapshot.last:
            return _alike(snapshot.digest, position.digest)
        if base is not None and at.index < base.last.index:
            return None
        log = Log(self.entries, base)
        return log.term_at(at.index) == at.term and _alike(log.digest_at(at.index), position.digest)


def load(storage: Storage, number: int) -> Loaded:
    """Read one archive; waits for the disk.

    Raises:
        StorageError: There is none of that number, or it cannot be read or trusted.
    """
    archived = next((item for item in storage.archives() if item.number == number), None)
    restored, chunks = storage.load_archive(number)
    return Loaded(archived or Archived(number=number, ended=None, whole=False), restored, tuple(chunks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """What an ended history and the living one have in common.

    Attributes:
        related: Whether they have anything.
        at: The newest position that is in both; None if they are unrelated, or if it cannot be told.
        contained: Whether the living one has all that was acknowledged in the ended one.
    """

    related: bool
    at: Branch | None = None
    contained: bool = False


def meeting(ended: Loaded, living: Genesis, others: Sequence[Loaded] = ()) -> Meeting:
    """Compare an ended history with the living one.

    Args:
        ended: The archive of the ended one; its genesis must be known.
        living: The living one's genesis.
        others: Further archives, which may hold what this one lacks.
    """
    end, genesis = ended.end, ended.genesis
    assert end is not None
    lines = {branch.history: branch for branch in (*(genesis.ancestors if genesis else ()), end)}
    for history, theirs in reversed(lines.items()):
        ours = living.branch_of(history)
        if ours is None and history != living.history:
            continue
        if history == end.history and (ours is None or ours.at >= end.at):
            # A log whose last position is not below another's has all that was committed there (paper, section 5.4.3).
            return Meeting(related=True, at=end, contained=True)
        if ours is None:
            # It descends from the living one. Whether that has the position, its own log says (see ``Carrier``).
            return Meeting(related=True, at=theirs)
        return Meeting(related=True, at=_earlier(theirs, ours, (ended, *others)))
    return Meeting(related=False)


def _earlier(theirs: Branch, ours: Branch, archives: Sequence[Loaded]) -> Branch | None:
    """The earlier of two positions of one history, if the later one's log has it; None if that cannot be told."""
    first, last = (theirs, ours) if theirs.at <= ours.at else (ours, theirs)
    if first.at == last.at:
        return first if _alike(first.digest, last.digest) else None
    if first.at.term == last.at.term:
        return first  # one leader wrote both, one behind the other (paper, section 5.3)
    return first if any(archive.holds(last) and archive.holds(first) for archive in archives) else None


def _alike(one: bytes, other: bytes) -> bool:
    return one == other or NO_DIGEST in (one, other)
