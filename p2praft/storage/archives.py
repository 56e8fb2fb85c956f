"""Logs that were kept aside, in tables of their own beside the live log. What is damaged here concerns nothing else."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from p2praft.raft.effects import Archive, Restored
from p2praft.raft.entries import Base, LogEntry, Snapshot
from p2praft.raft.histories.messages import Ended
from p2praft.storage.base import Archived
from p2praft.storage.sealed import ENTRY, Damaged, Sealed, unseal_bytes, unseal_log

TABLES = (
    # Rows are never deleted, so no number is used again.
    "CREATE TABLE archives (number INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE archived_entries (number INTEGER, idx INTEGER, data BLOB NOT NULL, PRIMARY KEY (number, idx)) "
    "WITHOUT ROWID",
    "CREATE TABLE archived_chunks (number INTEGER, chunk INTEGER, data BLOB NOT NULL, PRIMARY KEY (number, chunk)) "
    "WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What stands in an archive, and why it is there.

    Attributes:
        ended: How the history ended; None if release 0.1 put it aside.
        whole: Whether it holds all that the history ever acknowledged.
        base: What the log begins behind.
        snapshot: What its chunks are.
        last: Index of its last entry; the base's, or 0, if it has none.
    """

    ended: Ended | None
    whole: bool
    base: Base | None
    snapshot: Snapshot | None
    last: int


DESCRIPTION: Sealed[Description] = Sealed(Description)


def keep(
    db: sqlite3.Connection, archive: Archive, base: Base | None, snapshot: Snapshot | None, first_chunk: int
) -> None:
    """Copy the live log and its snapshot aside; to be called within a transaction.

    Args:
        db: With the tables ``entries`` and ``chunks`` of the live log.
        archive: What is to be kept.
        base: Of the live log.
        snapshot: The live one.
        first_chunk: Where its chunks begin in the table.
    """
    end = archive.ended.branch.at.index
    number: int = db.execute("SELECT coalesce(max(number), 0) + 1 FROM archives").fetchone()[0]
    db.execute("INSERT INTO archived_entries SELECT ?, idx, data FROM entries WHERE idx <= ?", (number, end))
    _complete(db, number, archive.entries, base)
    if snapshot is not None:
        db.execute(
            "INSERT INTO archived_chunks SELECT ?, at - ?, data FROM chunks WHERE at >= ? AND at < ?",
            (number, first_chunk, first_chunk, first_chunk + snapshot.chunks),
        )
    description = Description(
        ended=archive.ended,
        whole=archive.whole,
        base=base,
        snapshot=snapshot,
        last=_last(db, number, base),
    )
    db.execute("INSERT INTO archives VALUES (?, ?)", (number, DESCRIPTION.seal(description)))


def _complete(db: sqlite3.Connection, number: int, entries: tuple[LogEntry, ...], base: Base | None) -> None:
    """Add what the log's end has in memory and not yet on the disk: it came with the write that archives.

    Where the two agree in one entry, they agree in all before it (paper, section 5.3, Log Matching).
    """
    last = _last(db, number, base)
    if entries and entries[0].index > last + 1:
        return  # what is between stands in a snapshot that came with the same write, and was never stored
    for entry in reversed(entries):
        data = ENTRY.seal(entry)
        row = db.execute(
            "SELECT data FROM archived_entries WHERE number = ? AND idx = ?", (number, entry.index)
        ).fetchone()
        if row is not None and row[0] == data:
            return
        db.execute("INSERT OR REPLACE INTO archived_entries VALUES (?, ?, ?)", (number, entry.index, data))


def _last(db: sqlite3.Connection, number: int, base: Base | None) -> int:
    row = db.execute("SELECT max(idx) FROM archived_entries WHERE number = ?", (number,)).fetchone()
    return row[0] or (base.last.index if base else 0)


def listed(db: sqlite3.Connection) -> tuple[Archived, ...]:
    """All of them, the oldest first; of one whose description is damaged only the number is known."""
    found = []
    for number, data in db.execute("SELECT number, data FROM archives ORDER BY number"):
        try:
            description = DESCRIPTION.unseal(data, "its description")
        except Damaged:
            found.append(Archived(number=number, ended=None, whole=False))
        else:
            found.append(Archived(number=number, ended=description.ended, whole=description.whole))
    return tuple(found)


def load(db: sqlite3.Connection, number: int) -> Restored | None:
    """One of them without its chunks; None if there is none of that number.

    Raises:
        Damaged: It cannot be trusted.
    """
    row = db.execute("SELECT data FROM archives WHERE number = ?", (number,)).fetchone()
    if row is None:
        return None
    description = DESCRIPTION.unseal(row[0], "its description")
    base, snapshot = description.base, description.snapshot
    begin = base.last.index if base else 0
    rows = db.execute(
        "SELECT idx, data FROM archived_entries WHERE number = ? AND idx > ? ORDER BY idx", (number, begin)
    ).fetchall()
    entries = unseal_log(rows, base, snapshot)
    if begin + len(entries) != description.last:
        raise Damaged(f"entry {begin + len(entries) + 1} is missing")
    return Restored(entries=entries, base=base, snapshot=snapshot)


def chunk(db: sqlite3.Connection, number: int, at: int) -> bytes:
    """Chunk ``at``, from 0, of the snapshot in an archive that has one.

    Raises:
        Damaged: It cannot be trusted, or is not there.
    """
    what = f"chunk {at} of its snapshot"
    row = db.execute("SELECT data FROM archived_chunks WHERE number = ? AND chunk = ?", (number, at)).fetchone()
    if row is None:
        raise Damaged(f"{what} is missing")
    return unseal_bytes(row[0], what)


def put_back_chunks(db: sqlite3.Connection, number: int) -> None:
    """Copy an archive's chunks back into the first slot of the live ones; to be called within a transaction."""
    db.execute("INSERT INTO chunks SELECT chunk, data FROM archived_chunks WHERE number = ?", (number,))
