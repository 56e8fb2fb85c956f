"""Durable storage on SQLite: WAL, ``synchronous=FULL``, one transaction a batch, integrity checked at open.

One file a group. A commit returns only when the data has reached the disk (https://www.sqlite.org/pragma.html,
``synchronous``), which is what lets a member promise what it has stored.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack

from p2praft.errors import StorageError
from p2praft.raft.effects import HardState, Restored, Write
from p2praft.raft.messages import LogEntry
from p2praft.storage.base import Storage
from transport import WireError
from transport.wire import Schema

FORMAT = 1
"""Version of the file format (``PRAGMA user_version``)."""
APPLICATION_ID = 0x70327066
"""Marks the file as ours (``PRAGMA application_id``)."""

_ENTRY: Schema[LogEntry] = Schema(LogEntry)
_STATE: Schema[HardState] = Schema(HardState)

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE archive (number INTEGER, idx INTEGER, data BLOB NOT NULL, PRIMARY KEY (number, idx)) WITHOUT ROWID;
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
        try:
            # One thread at a time uses it: the worker opens and closes it, its writer task writes.
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
        except sqlite3.Error as error:
            raise self._error("open", error) from None
        try:
            self._open()
        except sqlite3.Error as error:
            self._db.close()
            raise self._error("open", error) from None
        except StorageError:
            self._db.close()
            raise

    def load(self) -> Restored:
        try:
            rows = self._db.execute("SELECT idx, data FROM entries ORDER BY idx").fetchall()
            state = self._meta("state")
        except sqlite3.Error as error:
            raise self._error("read", error) from None
        entries = tuple(self._unseal(_ENTRY, data, f"entry {index}") for index, data in rows)
        for expected, entry in enumerate(entries, start=1):
            if entry.index != expected:
                raise self._corrupt(f"entry {expected} is missing")
        return Restored(
            state=self._unseal(_STATE, state, "the hard state") if state else HardState(),
            entries=entries,
        )

    def write(self, writes: Sequence[Write]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for write in writes:
                self._write_one(write)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise self._error("write", error) from None

    def close(self) -> None:
        self._db.close()

    # --- inner workings

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
            db.executescript(
                f"BEGIN; {_TABLES} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; COMMIT;"
            )
            db.execute("INSERT INTO meta VALUES ('incarnation', ?)", (secrets.token_bytes(8),))
        incarnation = self._meta("incarnation")
        if incarnation is None or len(incarnation) != 8:
            raise self._corrupt("it has no incarnation")
        self.incarnation = incarnation

    def _write_one(self, write: Write) -> None:
        db = self._db
        if write.clear:
            if write.archive:
                db.execute(
                    "INSERT INTO archive SELECT (SELECT coalesce(max(number), 0) + 1 FROM archive), idx, data FROM entries"
                )
            db.execute("DELETE FROM entries")
        if write.state is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('state', ?)", (_seal(_STATE, write.state),))
        if write.replace_from is not None:
            db.execute("DELETE FROM entries WHERE idx >= ?", (write.replace_from,))
            db.executemany(
                "INSERT INTO entries VALUES (?, ?)", [(entry.index, _seal(_ENTRY, entry)) for entry in write.entries]
            )

    def _meta(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT data FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _unseal(self, schema: Schema[Any], data: bytes, what: str) -> Any:
        body, checksum = data[:-4], data[-4:]
        if zlib.crc32(body).to_bytes(4, "big") != checksum:
            raise self._corrupt(f"{what} has a wrong checksum")
        try:
            return schema.load(msgpack.unpackb(body))
        except (ValueError, WireError) as error:
            raise self._corrupt(f"{what} cannot be read: {error}") from None

    def _corrupt(self, problem: str) -> StorageError:
        return StorageError(
            f"{self._path} is corrupt: {problem}. This member does not trust it and stops. Restore the file from a "
            "backup of this node, or move it away: the member then joins its group anew, as a new member"
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
            return StorageError(f"cannot {what} {self._path}: {text}; check who owns it and that the disk is writable")
        return StorageError(f"cannot {what} {self._path}: {text}")


def _seal(schema: Schema[Any], value: Any) -> bytes:
    body: bytes = msgpack.packb(schema.dump(value))
    return body + zlib.crc32(body).to_bytes(4, "big")
