"""Both storages against one contract, and what a damaged file gets."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2praft import PeerId, StorageError
from p2praft.raft.effects import HardState, Restored, Write
from p2praft.raft.messages import Commands, Genesis, Index, LogEntry, Member, NoOp, Term
from p2praft.storage import DataDirectory, MemoryStorage, SqliteStorage, Storage

ME = Member(PeerId(bytes(32)), b"i" * 8, False)
GENESIS = Genesis(history=b"h" * 16, writer=ME, attempt=1, founders=(ME,), reluctant=False, created=1.5)


def entry(index: int, term: int = 1) -> LogEntry:
    payload = GENESIS if index == 1 else Commands(session=1, first=index, settled=0, commands=(b"x" * index,))
    return LogEntry(term=Term(term), index=Index(index), time=float(index), proposer=ME.peer_id, payload=payload)


Opener = Callable[[], Storage]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same storage again and again, as a process that restarts would."""
    if request.param == "memory":
        storage = MemoryStorage(keep=True)
        return lambda: storage
    return lambda: SqliteStorage(tmp_path / "groups" / "g.sqlite")


def test_a_fresh_storage_holds_nothing_but_an_incarnation(reopen: Opener) -> None:
    storage = reopen()
    assert storage.load() == Restored()
    assert len(storage.incarnation) == 8
    storage.close()


def test_what_was_written_is_there_after_a_restart(reopen: Opener) -> None:
    storage = reopen()
    incarnation = storage.incarnation
    state = HardState(term=Term(3), vote=ME, attempt=2, founded=True)
    storage.write([Write(serial=1, state=state, replace_from=Index(1), entries=(entry(1), entry(2)))])
    storage.write([Write(serial=2, replace_from=Index(3), entries=(entry(3),))])
    storage.close()
    again = reopen()
    assert again.incarnation == incarnation
    assert again.load() == Restored(state=state, entries=(entry(1), entry(2), entry(3)))
    assert again.load().genesis == GENESIS
    again.close()


def test_replacing_drops_all_that_stood_behind(reopen: Opener) -> None:
    storage = reopen()
    storage.write([Write(serial=1, replace_from=Index(1), entries=tuple(map(entry, range(1, 6))))])
    storage.write([Write(serial=2, replace_from=Index(3), entries=(entry(3, term=2),))])
    assert storage.load().entries == (entry(1), entry(2), entry(3, term=2))
    storage.close()


def test_clearing_and_founding_anew_in_one_write(reopen: Opener) -> None:
    storage = reopen()
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1), entry(2)))])
    noop = LogEntry(term=Term(1), index=Index(1), time=0.0, proposer=ME.peer_id, payload=NoOp())
    storage.write([Write(serial=2, state=HardState(attempt=9), replace_from=Index(1), entries=(noop,), clear=True)])
    assert storage.load() == Restored(state=HardState(attempt=9), entries=(noop,))
    storage.close()


def test_an_archived_log_is_kept_aside(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1), entry(2)))])
    storage.write([Write(serial=2, state=HardState(), clear=True, archive=True)])
    assert storage.load().entries == ()
    storage.close()
    with sqlite3.connect(tmp_path / "g.sqlite") as db:
        assert db.execute("SELECT number, idx FROM archive ORDER BY idx").fetchall() == [(1, 1), (1, 2)]
    db.close()


def test_garbage_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    path.write_bytes(b"not a database at all, not even close" * 100)
    with pytest.raises(StorageError, match=r"g\.sqlite is corrupt"):
        SqliteStorage(path)


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE guests (name TEXT)")
    db.close()
    with pytest.raises(StorageError, match="not of p2praft"):
        SqliteStorage(path)


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    SqliteStorage(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StorageError, match=r"newer p2praft.*upgrade"):
        SqliteStorage(path)


def test_a_flipped_bit_in_an_entry_is_found(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    storage = SqliteStorage(path)
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1), entry(2)))])
    storage.close()
    with sqlite3.connect(path) as db:
        data = bytearray(db.execute("SELECT data FROM entries WHERE idx = 2").fetchone()[0])
        data[5] ^= 1
        db.execute("UPDATE entries SET data = ? WHERE idx = 2", (bytes(data),))
    db.close()
    storage = SqliteStorage(path)
    with pytest.raises(StorageError, match="entry 2 has a wrong checksum"):
        storage.load()
    storage.close()


def test_a_missing_entry_is_found(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    storage = SqliteStorage(path)
    storage.write([Write(serial=1, replace_from=Index(1), entries=tuple(map(entry, range(1, 4))))])
    storage.close()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM entries WHERE idx = 2")
    db.close()
    storage = SqliteStorage(path)
    with pytest.raises(StorageError, match="entry 2 is missing"):
        storage.load()
    storage.close()


def test_a_full_disk_says_so_and_nothing_of_the_write_counts(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1),))])
    storage._db.execute("PRAGMA max_page_count=1")  # the smallest disk there is
    big = LogEntry(
        term=Term(1),
        index=Index(2),
        time=0.0,
        proposer=ME.peer_id,
        payload=Commands(session=1, first=1, settled=0, commands=(b"x" * 1_000_000,)),
    )
    with pytest.raises(StorageError, match="the disk is full"):
        storage.write(
            [Write(serial=2, state=HardState(term=Term(9))), Write(serial=3, replace_from=Index(2), entries=(big,))]
        )
    assert storage.load() == Restored(entries=(entry(1),))
    storage.close()


def test_a_directory_is_held_by_one_process(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "node")
    program = "import sys; from p2praft.storage import DataDirectory; DataDirectory(sys.argv[1])"
    second = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "node")], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode != 0
    assert "in use by another process (pid" in second.stderr
    directory.close()
    DataDirectory(tmp_path / "node").close()
