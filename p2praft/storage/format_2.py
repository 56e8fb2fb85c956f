"""Format 2 of the file, which release 0.1 wrote, and how it becomes the present one.

It knew one kind of history: without ancestors, settings, digests, or a count of commands. What is the same in both formats, and
that is every entry but the genesis, stays as it is, byte by byte.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from p2praft.raft.effects import HardState
from p2praft.raft.entries import Base, Commands, Configuration, LogEntry, NoOp, OpenSession, Snapshot
from p2praft.raft.histories.entries import NO_HISTORY, Genesis, HistoryId, Past
from p2praft.raft.histories.record import Record
from p2praft.raft.log import Log
from p2praft.raft.types import NO_DIGEST, Cursor, Index, Member, Term
from p2praft.storage import archives
from p2praft.storage.sealed import (
    BASE,
    ENTRY,
    INCARNATION,
    KEPT,
    RECORD,
    START,
    STATE,
    Damaged,
    Kept,
    Sealed,
    check_log,
)
from transport import PeerId
from transport.wire import Range, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Genesis:
    wire_tag: ClassVar[int] = 1
    history: HistoryId
    writer: Member
    attempt: int
    founders: Annotated[tuple[Member, ...], Size(1, 31)]
    reluctant: bool
    created: float

    @property
    def converted(self) -> Genesis:
        return Genesis(
            history=self.history,
            writer=self.writer,
            attempt=self.attempt,
            founders=self.founders,
            reluctant=self.reluctant,
            created=self.created,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    term: Term
    index: Index
    time: float
    proposer: PeerId
    payload: _Genesis | NoOp | Configuration | OpenSession | Commands

    @property
    def converted(self) -> LogEntry:
        payload = self.payload.converted if isinstance(self.payload, _Genesis) else self.payload
        return LogEntry(term=self.term, index=self.index, time=self.time, proposer=self.proposer, payload=payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    last: Cursor
    time: float
    genesis: _Genesis
    voters: Annotated[tuple[Member, ...], Size(1, 32)]
    voters_index: Index

    @property
    def converted(self) -> Base:
        """How many of the compacted entries had commands, nobody knows: all but the genesis are taken to have had some.

        Nearly all had, and so members whose logs begin at different places come to nearly the same number. It is never 0 where
        a command may have been. The larger voter sets that may have been in between are forgotten.
        """
        sets = (self.genesis.founders, self.voters)
        past = Past(
            genesis=self.genesis.converted,
            begins=Index(1),
            commands=max(0, self.last.index - 1),
            durable=max(sum(not voter.volatile for voter in voters) for voters in sets),
            breadth=max(map(len, sets)),
        )
        return Base(
            last=self.last,
            time=self.time,
            digest=NO_DIGEST,
            voters=self.voters,
            voters_index=self.voters_index,
            past=past,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    base: _Base
    chunks: Annotated[int, Range(1, 1 << 24)]
    digest: Annotated[bytes, Size(32, 32)]

    @property
    def converted(self) -> Snapshot:
        return Snapshot(base=self.base.converted, chunks=self.chunks, digest=self.digest)


@dataclass(frozen=True, slots=True)
class _Kept:
    slot: int
    snapshot: _Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class _HardState:
    term: Term = Term(0)
    vote: Member | None = None
    attempt: int = 0
    founded: bool = False
    lost: tuple[Member, ...] = ()


_ENTRY = Sealed[_Entry](_Entry)
_BASE = Sealed[_Base](_Base)
_KEPT = Sealed[_Kept](_Kept)
_STATE = Sealed[_HardState](_HardState)


def convert(db: sqlite3.Connection) -> None:
    """Bring all that the file holds into the present format; to be called within a transaction.

    Raises:
        Damaged: The live log cannot be trusted. What is damaged in an archive stays damaged there.
    """
    db.execute("CREATE TABLE IF NOT EXISTS chunks (at INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    _convert_live(db)
    _convert_archives(db)


def _convert_live(db: sqlite3.Connection) -> None:
    meta: dict[str, bytes] = dict(db.execute("SELECT name, data FROM meta").fetchall())
    old_base = _BASE.unseal(meta["base"], "the log's base") if "base" in meta else None
    kept = _KEPT.unseal(meta["snapshot"], "the snapshot's description") if "snapshot" in meta else None
    state = _STATE.unseal(meta["state"], "the hard state") if "state" in meta else _HardState()
    base = old_base.converted if old_base else None
    snapshot = kept.snapshot.converted if kept else None
    entries = _convert_entries(db)
    check_log(entries, base, snapshot)
    first = entries[0].payload if entries else None
    genesis = base.past.genesis if base else first if isinstance(first, Genesis) else None
    record = Record(
        history=genesis.history if genesis else NO_HISTORY,
        founded=state.founded,
        attempt=state.attempt,
        lost=state.lost[-256:],
    )
    _put(db, "state", STATE.seal(HardState(term=state.term, vote=state.vote)))
    _put(db, "record", RECORD.seal(record))
    if base is not None:
        _put(db, "base", BASE.seal(base))
    if kept is not None and snapshot is not None:
        _put(db, "snapshot", KEPT.seal(Kept(kept.slot, _in_log(snapshot, entries, base))))
    if len(incarnation := meta.get("incarnation", b"")) != 8:
        raise Damaged("it has no incarnation")
    _put(db, "incarnation", INCARNATION.seal(incarnation))
    _put(db, "start", START.seal(0))


def _convert_entries(db: sqlite3.Connection) -> list[LogEntry]:
    entries = []
    for index, data in db.execute("SELECT idx, data FROM entries ORDER BY idx").fetchall():
        old = _ENTRY.unseal(data, f"entry {index}")
        entries.append(old.converted)
        if isinstance(old.payload, _Genesis):
            db.execute("UPDATE entries SET data = ? WHERE idx = ?", (ENTRY.seal(old.converted), index))
    return entries


def _in_log(snapshot: Snapshot, entries: list[LogEntry], base: Base | None) -> Snapshot:
    """The snapshot with what the log says of the history up to there: it must not say less than the log's own base."""
    log = Log(entries, base)
    at = snapshot.base.last
    return replace(snapshot, base=log.base_at(at.index)) if log.term_at(at.index) == at.term else snapshot


def _convert_archives(db: sqlite3.Connection) -> None:
    """An archive had its entries, under number 0 the snapshot's description, and a slot of the chunks, its number and one."""
    for statement in archives.TABLES:
        db.execute(statement)
    for (number,) in db.execute("SELECT DISTINCT number FROM archive ORDER BY number").fetchall():
        _convert_archive(db, number)
    db.execute(
        "INSERT INTO archived_chunks SELECT (at >> 32) - 1, at & 0xffffffff, data FROM chunks WHERE at >> 32 >= 2"
    )
    db.execute("DELETE FROM chunks WHERE at >> 32 >= 2")
    db.execute("DROP TABLE archive")


def _convert_archive(db: sqlite3.Connection, number: int) -> None:
    last = first = 0
    described: bytes | None = None
    for index, data in db.execute("SELECT idx, data FROM archive WHERE number = ? ORDER BY idx", (number,)).fetchall():
        if index == 0:
            described = data
            continue
        first, last = first or index, index
        db.execute("INSERT INTO archived_entries VALUES (?, ?, ?)", (number, index, _archived_entry(data)))
    db.execute("INSERT INTO archives VALUES (?, ?)", (number, _description(described, first, last)))


def _archived_entry(data: bytes) -> bytes:
    try:
        entry = _ENTRY.unseal(data, "it")
    except Damaged:
        return data  # whoever reads it is told
    return ENTRY.seal(entry.converted) if isinstance(entry.payload, _Genesis) else data


def _description(described: bytes | None, first: int, last: int) -> bytes:
    """What the log began behind was not kept with it: behind a beginning that is lost, what counts begins with the snapshot."""
    try:
        snapshot = _KEPT.unseal(described, "it").snapshot.converted if described is not None else None
    except Damaged:
        assert described is not None
        return described
    base = snapshot.base if snapshot is not None and first != 1 else None
    last = max(last, base.last.index) if base else last
    return archives.DESCRIPTION.seal(
        archives.Description(ended=None, whole=False, base=base, snapshot=snapshot, last=last)
    )


def _put(db: sqlite3.Connection, name: str, data: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, data))
