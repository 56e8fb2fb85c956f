"""Durable storage on SQLite: WAL, ``synchronous=FULL``, one transaction a batch, integrity checked at open.

One file a group. A commit returns only when the data has reached the disk (https://www.sqlite.org/pragma.html,
``synchronous``), which is what lets a member promise what it has stored.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import msgpack

from p2praft.errors import StorageError
from p2praft.raft.effects import ChunkWrite, HardState, Restored, Write
from p2praft.raft.messages import Base, LogEntry, Snapshot
from p2praft.storage.base import Storage
from p2praft.storage.wal import damaged_frame, settle
from transport import WireError
from transport.wire import Schema

FORMAT = 2
"""Version of the file format (``PRAGMA user_version``)."""
APPLICATION_ID = 0x70327066
"""Marks the file as ours (``PRAGMA application_id``)."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The newest snapshot and in which of the two slots its chunks are; the next one is stored in the other."""

    slot: int
    snapshot: Snapshot


_ENTRY: Schema[LogEntry] = Schema(LogEntry)
_STATE: Schema[HardState] = Schema(HardState)
_BASE: Schema[Base] = Schema(Base)
_KEPT: Schema[_Kept] = Schema(_Kept)

_CHUNKS = "CREATE TABLE chunks (at INTEGER PRIMARY KEY, data BLOB NOT NULL);"
_TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE archive (number INTEGER, idx INTEGER, data BLOB NOT NULL, PRIMARY KEY (number, idx)) WITHOUT ROWID;
{_CHUNKS}
"""


class SqliteStorage(Storage):
    """One group's log in one file.

    Args:
        path: The file; made with its folder if it does not exist.

    Raises:
        StorageError: It is corrupt, of a newer version, not ours, or cannot be written.
    """

    volatile = False
    blocking = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(f"cannot make the folder {self._path.parent}: {error.strerror}") from None
        self._examine_log()
        try:
            # One thread at a time uses it: the worker opens and closes it, its writer task writes.
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
            # Chunks are read beside the writes, on a connection of their own: WAL readers and the writer do not wait.
            self._reader = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
        except sqlite3.Error as error:
            raise self._error("open", error) from None
        self._reading = threading.Lock()
        self._kept: _Kept | None = None
        self._end = 0
        """Index of the last entry in the file, or of one that was there."""
        try:
            self._open()
        except sqlite3.Error as error:
            self.close()
            raise self._error("open", error) from None
        except StorageError:
            self.close()
            raise

    def load(self) -> Restored:
        try:
            rows = self._db.execute("SELECT idx, data FROM entries ORDER BY idx").fetchall()
            state, base = self._meta("state"), self._meta("base")
        except sqlite3.Error as error:
            raise self._error("read", error) from None
        restored = Restored(
            state=self._unseal(_STATE, state, "the hard state") if state else HardState(),
            entries=tuple(self._unseal(_ENTRY, data, f"entry {index}") for index, data in rows),
            base=self._unseal(_BASE, base, "the log's base") if base else None,
            snapshot=self._kept.snapshot if self._kept else None,
        )
        begin = restored.base.last.index if restored.base else 0
        for expected, entry in enumerate(restored.entries, start=begin + 1):
            if entry.index != expected:
                raise self._corrupt(f"entry {expected} is missing")
        if begin and (restored.snapshot is None or restored.snapshot.base.last.index < begin):
            raise self._corrupt(f"the log begins behind entry {begin}, but there is no snapshot up to there")
        return restored

    def write(self, writes: Sequence[Write | ChunkWrite]) -> None:
        kept, end = self._kept, self._end
        try:
            if len(writes) == 1 and self._appends_one(writes[0]):  # a statement is a transaction: two calls less
                self._write_one(writes[0])
                return
            self._db.execute("BEGIN IMMEDIATE")
            for write in writes:
                if isinstance(write, ChunkWrite):
                    self._db.execute(
                        "INSERT OR REPLACE INTO chunks VALUES (?, ?)",
                        (_at(self._free_slot, write.number), _seal_bytes(write.data)),
                    )
                else:
                    self._write_one(write)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._kept, self._end = kept, end
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._error("write", error) from None

    def chunk(self, number: int, *, pending: bool = False) -> bytes | None:
        if not pending and self._kept is None:
            return None
        slot = self._free_slot if pending or self._kept is None else self._kept.slot
        try:
            with self._reading:
                row = self._reader.execute("SELECT data FROM chunks WHERE at = ?", (_at(slot, number),)).fetchone()
        except sqlite3.Error as error:
            raise self._error("read", error) from None
        return self._unseal_bytes(row[0], f"chunk {number} of the snapshot") if row else None

    def close(self) -> None:
        self._db.close()
        with self._reading:
            self._reader.close()

    # --- inner workings

    def _examine_log(self) -> None:
        """What SQLite would forget in silence is refused before it reads its write-ahead log."""
        try:
            damaged = damaged_frame(self._path)
            if damaged is None:
                settle(self._path)
        except OSError as error:
            raise self._forbidden("open", error.strerror or str(error)) from None
        if damaged is not None:
            where = f"is damaged at frame {damaged}" if damaged else "has a damaged header"
            raise self._corrupt(f"its write-ahead log {where}, and SQLite would forget what was committed behind it")

    def _open(self) -> None:
        db = self._db
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        fresh = application == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not fresh:
            if application != APPLICATION_ID:
                raise StorageError(f"{self._path} is a database, but not of p2praft; choose another data directory")
            if version > FORMAT:
                raise StorageError(
                    f"{self._path} was written by a newer p2praft (format {version}; this one knows up to {FORMAT}); "
                    "upgrade this node, it will not touch the file"
                )
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise self._corrupt(problem)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        if fresh:
            # All in one transaction: a crash leaves a whole file or an empty one.
            db.executescript(
                f"BEGIN; {_TABLES} INSERT INTO meta VALUES ('incarnation', x'{secrets.token_hex(8)}'); "
                f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; COMMIT;"
            )
        elif version < FORMAT:
            db.executescript(f"BEGIN; {_CHUNKS} PRAGMA user_version={FORMAT}; COMMIT;")
        incarnation = self._meta("incarnation")
        if incarnation is None or len(incarnation) != 8:
            raise self._corrupt("it has no incarnation")
        self.incarnation = incarnation
        self._end = db.execute("SELECT coalesce(max(idx), 0) FROM entries").fetchone()[0]
        kept = self._meta("snapshot")
        self._kept = self._unseal(_KEPT, kept, "the snapshot's description") if kept else None

    @property
    def _free_slot(self) -> int:
        return 1 - self._kept.slot if self._kept else 0

    def _appends_one(self, write: Write | ChunkWrite) -> TypeGuard[Write]:
        return (
            isinstance(write, Write)
            and len(write.entries) == 1
            and write.replace_from == self._end + 1
            and write.state is None
            and write.snapshot is None
            and write.base is None
            and not write.clear
        )

    def _write_one(self, write: Write) -> None:
        db = self._db
        if write.clear:
            if write.archive:
                self._archive()
            db.execute("DELETE FROM entries")
            db.execute("DELETE FROM meta WHERE name IN ('base', 'snapshot')")
            self._kept, self._end = None, 0
        if write.state is not None:
            self._put_meta("state", _seal(_STATE, write.state))
        if write.snapshot is not None:
            self._kept = _Kept(self._free_slot, write.snapshot)
            self._put_meta("snapshot", _seal(_KEPT, self._kept))
            # The slot may hold the end of a longer one from before. The other slot's chunks are replaced one by one.
            first, end = _at(self._kept.slot, write.snapshot.chunks), _at(self._kept.slot + 1, 0)
            db.execute("DELETE FROM chunks WHERE at >= ? AND at < ?", (first, end))
        if write.base is not None:
            self._put_meta("base", _seal(_BASE, write.base))
            db.execute("DELETE FROM entries WHERE idx <= ?", (write.base.last.index,))
        if write.replace_from is not None:
            if write.replace_from <= self._end:
                db.execute("DELETE FROM entries WHERE idx >= ?", (write.replace_from,))
            db.executemany(
                "INSERT INTO entries VALUES (?, ?)", [(entry.index, _seal(_ENTRY, entry)) for entry in write.entries]
            )
            self._end = write.replace_from + len(write.entries) - 1

    def _archive(self) -> None:
        """Keep the history aside: its entries, and as number 0 the snapshot's description; its chunks get a slot."""
        db = self._db
        number = db.execute("SELECT coalesce(max(number), 0) + 1 FROM archive").fetchone()[0]
        db.execute("INSERT INTO archive SELECT ?, idx, data FROM entries", (number,))
        if self._kept is not None:
            slot = number + 1
            db.execute("INSERT INTO archive VALUES (?, 0, ?)", (number, _seal(_KEPT, _Kept(slot, self._kept.snapshot))))
            shift = _at(slot, 0) - _at(self._kept.slot, 0)
            begin, end = _at(self._kept.slot, 0), _at(self._kept.slot + 1, 0)
            db.execute("UPDATE chunks SET at = at + ? WHERE at >= ? AND at < ?", (shift, begin, end))

    def _put_meta(self, name: str, data: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, data))

    def _meta(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT data FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _unseal(self, schema: Schema[Any], data: bytes, what: str) -> Any:
        body = self._unseal_bytes(data, what)
        try:
            return schema.load(msgpack.unpackb(body))
        except (ValueError, WireError) as error:
            raise self._corrupt(f"{what} cannot be read: {error}") from None

    def _unseal_bytes(self, data: bytes, what: str) -> bytes:
        body, checksum = data[:-4], data[-4:]
        if zlib.crc32(body).to_bytes(4, "big") != checksum:
            raise self._corrupt(f"{what} has a wrong checksum")
        return body

    def _corrupt(self, problem: str) -> StorageError:
        return StorageError(
            f"{self._path} is corrupt: {problem}. This member does not trust it and stops. Move it away: the "
            "member then joins its group anew, as a new member. An older copy of the file must not take its place: it has "
            "forgotten what this member promised"
        )

    def _error(self, what: str, error: sqlite3.Error) -> StorageError:
        text = str(error)
        if "full" in text:
            return StorageError(
                f"cannot {what} {self._path}: the disk is full; free some space and start the node again"
            )
        if "malformed" in text or "not a database" in text:
            return self._corrupt(text)
        if "readonly" in text or "unable to open" in text:
            return self._forbidden(what, text)
        return StorageError(f"cannot {what} {self._path}: {text}")

    def _forbidden(self, what: str, text: str) -> StorageError:
        return StorageError(f"cannot {what} {self._path}: {text}; check who owns it and that the disk is writable")


def _seal(schema: Schema[Any], value: Any) -> bytes:
    body: bytes = msgpack.packb(schema.dump(value))
    return _seal_bytes(body)


def _seal_bytes(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "big")


def _at(slot: int, number: int) -> int:
    return (slot << 32) + number
