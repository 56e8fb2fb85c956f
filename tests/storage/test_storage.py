"""Both storages against one contract, and what a damaged file gets."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from p2praft import PeerId, StorageError
from p2praft.raft.effects import Archive, HardState, Restored, Write
from p2praft.raft.entries import Commands, LogEntry, NoOp
from p2praft.raft.histories.entries import Branch, Genesis
from p2praft.raft.histories.messages import End, Ended
from p2praft.raft.histories.record import Promise, Record
from p2praft.raft.types import Cursor, Index, Member, Term
from p2praft.storage import DataDirectory, MemoryStorage, SqliteStorage, Storage

ME = Member(PeerId(bytes(32)), b"i" * 8, False)
GENESIS = Genesis(history=b"h" * 16, writer=ME, attempt=1, founders=(ME,), reluctant=False, created=1.5)
BRANCH = Branch(history=b"p" * 16, at=Cursor(Term(2), Index(7)), digest=b"d" * 16)
RECORD = Record(
    history=GENESIS.history,
    founded=True,
    attempt=2,
    parent=Promise(history=b"p" * 16, term=Term(2), vote=ME, founded=True),
    ended=(Ended(branch=BRANCH, into=GENESIS.history, how=End.REBORN, incarnation=b"i" * 8),),
    lost=(ME,),
)


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


def test_a_file_counts_its_starts_and_memory_has_one(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    for expected in (1, 2, 3):
        storage = SqliteStorage(path)
        assert storage.start == expected
        storage.close()
    assert MemoryStorage().start == 1


def test_the_start_is_on_the_disk_before_the_storage_can_be_used(tmp_path: Path) -> None:
    """Nothing is written and nothing is closed: as if the power failed just behind the opening."""
    path = tmp_path / "g.sqlite"
    storage = SqliteStorage(path)
    for file in tmp_path.glob("g.sqlite*"):
        (tmp_path / file.name.replace("g", "copy", 1)).write_bytes(file.read_bytes())
    storage.close()
    copy = SqliteStorage(tmp_path / "copy.sqlite")
    assert copy.start == 2
    copy.close()


def test_what_was_written_is_there_after_a_restart(reopen: Opener) -> None:
    storage = reopen()
    incarnation = storage.incarnation
    state, record = HardState(term=Term(3), vote=ME), RECORD
    storage.write([Write(serial=1, state=state, record=record, replace_from=Index(1), entries=(entry(1), entry(2)))])
    storage.write([Write(serial=2, replace_from=Index(3), entries=(entry(3),))])
    storage.close()
    again = reopen()
    assert again.incarnation == incarnation
    assert again.load() == Restored(state=state, record=record, entries=(entry(1), entry(2), entry(3)))
    again.close()


def test_one_entry_is_one_statement_and_all_else_one_transaction(tmp_path: Path) -> None:
    """A statement is a transaction by itself, which saves two calls; two statements without one may be torn by a crash."""
    storage = SqliteStorage(tmp_path / "g.sqlite")
    statements: list[str] = []
    storage._db.set_trace_callback(statements.append)
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1),))])
    assert [statement.split()[0] for statement in statements] == ["INSERT"]
    others = (
        Write(serial=2, state=HardState(term=Term(2))),
        Write(serial=3, record=RECORD),
        Write(serial=4, incarnation=b"another!"),
        Write(serial=5, archives=(Archive(ended=RECORD.ended[0], whole=True),)),
        Write(serial=6),
    )
    for at, other in enumerate(others, start=2):
        statements.clear()
        replace_from = Index(at) if other.serial < 6 else Index(1)
        storage.write([replace(other, replace_from=replace_from, entries=(entry(replace_from),))])
        assert statements[0].startswith("BEGIN")
        assert statements[-1] == "COMMIT"
    assert storage.load() == Restored(state=HardState(term=Term(2)), record=RECORD, entries=(entry(1),))
    storage.close()


def test_a_member_becomes_another(reopen: Opener) -> None:
    storage = reopen()
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1),))])
    storage.write([Write(serial=2, state=HardState(term=Term(1)), incarnation=b"\0\0\0\x09next")])
    assert storage.incarnation == b"\0\0\0\x09next"
    storage.close()
    again = reopen()
    assert again.incarnation == b"\0\0\0\x09next"
    assert again.load().entries == (entry(1),)
    again.close()


def test_each_opening_is_counted(tmp_path: Path) -> None:
    for count in range(1, 4):
        storage = SqliteStorage(tmp_path / "g.sqlite")
        assert storage.start == count
        storage.close()


def test_an_opening_is_counted_before_anything_is_done_with_it(tmp_path: Path) -> None:
    """Power fails right after it."""
    storage = SqliteStorage(tmp_path / "g.sqlite")
    (tmp_path / "later").mkdir()
    for file in tmp_path.glob("g.sqlite*"):
        shutil.copy(file, tmp_path / "later" / file.name)
    storage.close()
    again = SqliteStorage(tmp_path / "later" / "g.sqlite")
    assert again.start == 2
    again.close()


def test_memory_is_opened_once() -> None:
    assert MemoryStorage().start == 1


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
    state = HardState(term=Term(9))
    storage.write([Write(serial=2, state=state, record=RECORD, replace_from=Index(1), entries=(noop,), clear=True)])
    assert storage.load() == Restored(state=state, record=RECORD, entries=(noop,))
    storage.write([Write(serial=3, clear=True)])
    assert storage.load() == Restored(state=state, record=RECORD), "what is remembered stays"
    storage.close()


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


@pytest.mark.parametrize("name", ["incarnation", "start"])
def test_a_member_that_does_not_know_who_it_is_stops(tmp_path: Path, name: str) -> None:
    path = tmp_path / "g.sqlite"
    for change, problem in (
        ("UPDATE meta SET data = x'0011223344556677'", f"its {name} has a wrong checksum"),
        ("DELETE FROM meta", f"it has no {name}"),
    ):
        SqliteStorage(path).close()
        with sqlite3.connect(path) as db:
            db.execute(f"{change} WHERE name = ?", (name,))
        db.close()
        with pytest.raises(StorageError, match=problem):
            SqliteStorage(path)
        path.unlink()


@pytest.mark.parametrize(("name", "what"), [("state", "the hard state"), ("record", "what it remembers of histories")])
def test_a_promise_that_is_damaged_is_found(tmp_path: Path, name: str, what: str) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage.write([Write(serial=1, state=HardState(term=Term(9)), record=RECORD)])
    storage._db.execute("UPDATE meta SET data = x'0011223344' WHERE name = ?", (name,))
    with pytest.raises(StorageError, match=f"{what} has a wrong checksum"):
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
    incarnation = storage.incarnation
    storage._db.execute("PRAGMA max_page_count=1")  # the smallest disk there is
    big = LogEntry(
        term=Term(1),
        index=Index(2),
        time=0.0,
        proposer=ME.peer_id,
        payload=Commands(session=1, first=1, settled=0, commands=(b"x" * 1_000_000,)),
    )
    with pytest.raises(StorageError, match="the disk is full"):
        changed = Write(serial=2, state=HardState(term=Term(9)), incarnation=b"another!")
        storage.write([changed, Write(serial=3, replace_from=Index(2), entries=(big,))])
    assert storage.load() == Restored(entries=(entry(1),))
    assert storage.incarnation == incarnation
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
