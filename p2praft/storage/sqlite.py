"""Durable storage on SQLite: WAL, ``synchronous=FULL``, one transaction a batch, integrity checked at open.

One file a group. A commit returns only when the data has reached the disk (https://www.sqlite.org/pragma.html,
``synchronous``), which is what lets a member promise what it has stored.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar

from p2praft.errors import StorageError
from p2praft.raft.effects import ChunkWrite, HardState, Restored, Write
from p2praft.raft.histories.record import Record
from p2praft.raft.types import later_incarnation
from p2praft.storage import archives, format_2
from p2praft.storage.base import Archived, Storage
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
    seal_bytes,
    unseal_bytes,
    unseal_log,
)
from p2praft.storage.wal import damaged_frame, settle

FORMAT = 3
"""Version of the file format (``PRAGMA user_version``)."""
APPLICATION_ID = 0x70327066
"""Marks the file as ours (``PRAGMA application_id``)."""
TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE entries (idx INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE chunks (at INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    *archives.TABLES,
)

T = TypeVar("T")


class SqliteStorage(Storage):
    """One group's log in one file. What release 0.1 wrote is converted when it is opened.

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
            # Chunks and archives are read beside the writes, on a connection of their own: in WAL mode neither waits.
            self._reader = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
        except sqlite3.Error as error:
            raise self._error("open", error) from None
        self._reading = threading.Lock()
        self._kept: Kept | None = None
        self._end = 0
        """Index of the last entry in the file, or of one that was there."""
        try:
            self._open()
        except sqlite3.Error as error:
            self.close()
            raise self._error("open", error) from None
        except Damaged as damage:
            self.close()
            raise self._corrupt(str(damage)) from None
        except StorageError:
            self.close()
            raise

    def load(self) -> Restored:
        try:
            base = self._meta(BASE, "base", "the log's base")
            snapshot = self._kept.snapshot if self._kept else None
            rows = self._db.execute("SELECT idx, data FROM entries ORDER BY idx").fetchall()
            return Restored(
                state=self._meta(STATE, "state", "the hard state") or HardState(),
                record=self._meta(RECORD, "record", "what it remembers of histories") or Record(),
                entries=unseal_log(rows, base, snapshot),
                base=base,
                snapshot=snapshot,
            )
        except sqlite3.Error as error:
            raise self._error("read", error) from None
        except Damaged as damage:
            raise self._corrupt(str(damage)) from None

    def write(self, writes: Sequence[Write | ChunkWrite]) -> None:
        before = (self._kept, self._end, self.incarnation)
        try:
            if len(writes) == 1 and self._appends_one(writes[0]):  # a statement is a transaction: two calls less
                self._write_one(writes[0])
                return
            self._db.execute("BEGIN IMMEDIATE")
            for write in writes:
                if isinstance(write, ChunkWrite):
                    self._db.execute(
                        "INSERT OR REPLACE INTO chunks VALUES (?, ?)",
                        (_at(self._free_slot, write.number), seal_bytes(write.data)),
                    )
                else:
                    self._write_one(write)
            self._db.execute("COMMIT")
        except (sqlite3.Error, Damaged) as error:
            self._kept, self._end, self.incarnation = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._corrupt(str(error)) if isinstance(error, Damaged) else self._error("write", error) from None

    def chunk(self, number: int, *, pending: bool = False) -> bytes | None:
        if not pending and self._kept is None:
            return None
        slot = self._free_slot if pending or self._kept is None else self._kept.slot
        try:
            with self._reading:
                row = self._reader.execute("SELECT data FROM chunks WHERE at = ?", (_at(slot, number),)).fetchone()
            return unseal_bytes(row[0], f"chunk {number} of the snapshot") if row else None
        except sqlite3.Error as error:
            raise self._error("read", error) from None
        except Damaged as damage:
            raise self._corrupt(str(damage)) from None

    def archives(self) -> tuple[Archived, ...]:
        try:
            with self._reading:
                return archives.listed(self._reader)
        except sqlite3.Error as error:
            raise self._error("read", error) from None

    def load_archive(self, number: int) -> tuple[Restored, Iterator[bytes]]:
        try:
            with self._reading:
                restored = archives.load(self._reader, number)
        except (sqlite3.Error, Damaged) as error:
            raise self._archive_error(number, error) from None
        if restored is None:
            raise StorageError(f"there is no archive {number}; `archive list` shows those that there are")
        return restored, self._archived_chunks(number, restored.snapshot.chunks if restored.snapshot else 0)

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
                raise Damaged(problem)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # All in one transaction: a crash leaves the file as it was.
        db.execute("BEGIN IMMEDIATE")
        if fresh:
            self._create()
        elif version < FORMAT:
            format_2.convert(db)
        if version != FORMAT:
            db.execute(f"PRAGMA user_version={FORMAT}")
        self.incarnation = self._required(INCARNATION, "incarnation")
        self.start = self._required(START, "start") + 1
        self._put_meta("start", START.seal(self.start))
        db.execute("COMMIT")
        self._end = db.execute("SELECT coalesce(max(idx), 0) FROM entries").fetchone()[0]
        self._kept = self._meta(KEPT, "snapshot", "the snapshot's description")

    def _create(self) -> None:
        for statement in TABLES:
            self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        self._put_meta("incarnation", INCARNATION.seal(later_incarnation(bytes(8), secrets.token_bytes(4))))
        self._put_meta("start", START.seal(0))

    @property
    def _free_slot(self) -> int:
        return 1 - self._kept.slot if self._kept else 0

    def _appends_one(self, write: Write | ChunkWrite) -> TypeGuard[Write]:
        return (
            isinstance(write, Write)
            and len(write.entries) == 1
            and write.replace_from == self._end + 1
            and write.state is None
            and write.record is None
            and write.incarnation is None
            and write.snapshot is None
            and write.base is None
            and not write.clear
            and not write.archives
        )

    def _write_one(self, write: Write) -> None:
        db = self._db
        if write.snapshot is not None:
            self._kept = Kept(self._free_slot, write.snapshot)
            self._put_meta("snapshot", KEPT.seal(self._kept))
            # The slot may hold the end of a longer one from before. The other slot's chunks are replaced one by one.
            first, end = _at(self._kept.slot, write.snapshot.chunks), _at(self._kept.slot + 1, 0)
            db.execute("DELETE FROM chunks WHERE at >= ? AND at < ?", (first, end))
        if write.base is not None:
            self._put_meta("base", BASE.seal(write.base))
            db.execute("DELETE FROM entries WHERE idx <= ?", (write.base.last.index,))
        if write.archives:
            self._archive(write)
        if write.clear:
            self._clear()
        if write.revive is not None:
            self._revive(write.revive)
        if write.state is not None:
            self._put_meta("state", STATE.seal(write.state))
        if write.record is not None:
            self._put_meta("record", RECORD.seal(write.record))
        if write.incarnation is not None:
            self._put_meta("incarnation", INCARNATION.seal(write.incarnation))
            self.incarnation = write.incarnation
        if write.replace_from is not None:
            if write.replace_from <= self._end:
                db.execute("DELETE FROM entries WHERE idx >= ?", (write.replace_from,))
            db.executemany(
                "INSERT INTO entries VALUES (?, ?)", [(entry.index, ENTRY.seal(entry)) for entry in write.entries]
            )
            self._end = write.replace_from + len(write.entries) - 1

    def _clear(self) -> None:
        self._db.execute("DELETE FROM entries")
        self._db.execute("DELETE FROM chunks")
        self._db.execute("DELETE FROM meta WHERE name IN ('base', 'snapshot')")
        self._kept, self._end = None, 0

    def _revive(self, history: bytes) -> None:
        """Put the newest archive of a history in the place of the log."""
        number = max(
            archived.number
            for archived in archives.listed(self._db)
            if archived.ended is not None and archived.ended.branch.history == history
        )
        restored = archives.load(self._db, number)
        assert restored is not None
        self._clear()
        if restored.snapshot is not None:
            self._kept = Kept(0, restored.snapshot)
            self._put_meta("snapshot", KEPT.seal(self._kept))
            archives.put_back_chunks(self._db, number)
        if restored.base is not None:
            self._put_meta("base", BASE.seal(restored.base))
        rows = [(entry.index, ENTRY.seal(entry)) for entry in restored.entries]
        self._db.executemany("INSERT INTO entries VALUES (?, ?)", rows)
        self._end = restored.entries[-1].index if restored.entries else 0

    def _archive(self, write: Write) -> None:
        base = self._meta(BASE, "base", "the log's base")
        snapshot, slot = (self._kept.snapshot, self._kept.slot) if self._kept else (None, 0)
        for archive in write.archives:
            archives.keep(self._db, archive, base, snapshot, _at(slot, 0))

    def _archived_chunks(self, number: int, count: int) -> Iterator[bytes]:
        for at in range(count):
            try:
                with self._reading:
                    data = archives.chunk(self._reader, number, at)
            except (sqlite3.Error, Damaged) as error:
                raise self._archive_error(number, error) from None
            yield data

    def _put_meta(self, name: str, data: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, data))

    def _meta(self, sealed: Sealed[T], name: str, what: str) -> T | None:
        row = self._db.execute("SELECT data FROM meta WHERE name = ?", (name,)).fetchone()
        return sealed.unseal(row[0], what) if row else None

    def _required(self, sealed: Sealed[T], name: str) -> T:
        value = self._meta(sealed, name, f"its {name}")
        if value is None:
            raise Damaged(f"it has no {name}")
        return value

    def _corrupt(self, problem: str) -> StorageError:
        return StorageError(
            f"{self._path} is corrupt: {problem}. This member does not trust it and stops. Move it away: the "
            "member then joins its group anew, as a new member. An older copy of the file must not take its place: it has "
            "forgotten what this member promised"
        )

    def _archive_error(self, number: int, error: Exception) -> StorageError:
        return StorageError(
            f"archive {number} in {self._path} cannot be read: {error}. The group itself goes on. Another member that "
            "held this history may have an archive of it, `archive list` on it shows that; so may a backup of this file"
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


def _at(slot: int, number: int) -> int:
    return (slot << 32) + number
