"""Logs that are kept aside, in both storages, and what a damaged archive gets."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from p2praft import StorageError
from p2praft.raft.effects import Archive, HardState, Restored, Write
from p2praft.raft.histories.entries import Branch
from p2praft.raft.histories.messages import End, Ended
from p2praft.raft.types import Cursor, Index, Term
from p2praft.storage import SqliteStorage, Storage
from p2praft.storage.base import Archived
from tests.storage.test_snapshots import base, chunk, snapshot
from tests.storage.test_storage import GENESIS, RECORD, Opener, entry, reopen

__all__ = ["reopen"]


def ended(at: int, how: End = End.SEALED, history: bytes = GENESIS.history) -> Ended:
    branch = Branch(history=history, at=Cursor(Term(1), Index(at)), digest=b"d" * 16)
    return Ended(branch=branch, into=b"x" * 16, how=how, incarnation=b"i" * 8)


def archive(first: int, last: int, how: End = End.SEALED, *, whole: bool = True) -> Archive:
    return Archive(ended=ended(last, how), whole=whole, entries=tuple(map(entry, range(first, last + 1))))


def fill(storage: Storage, last: int, first: int = 1) -> None:
    storage.write([Write(serial=1, replace_from=Index(first), entries=tuple(map(entry, range(first, last + 1))))])


def read(storage: Storage, number: int) -> tuple[Restored, list[bytes]]:
    restored, chunks = storage.load_archive(number)
    return restored, list(chunks)


def test_a_log_is_kept_aside_and_read_again(reopen: Opener) -> None:
    storage = reopen()
    assert storage.archives() == ()
    fill(storage, 3)
    storage.write([Write(serial=2, archives=(archive(1, 3),), clear=True, state=HardState(), record=RECORD)])
    assert storage.load() == Restored(record=RECORD)
    storage.close()
    again = reopen()
    assert again.archives() == (Archived(number=1, ended=ended(3), whole=True),)
    assert read(again, 1) == (Restored(entries=tuple(map(entry, range(1, 4)))), [])
    again.close()


def test_a_compacted_log_is_kept_with_its_snapshot(reopen: Opener) -> None:
    storage = reopen()
    fill(storage, 8)
    storage.write([chunk(0, b"one"), chunk(1, b"two"), Write(serial=2, snapshot=snapshot(6, 2), base=base(4))])
    storage.write([chunk(0, b"half of the next")])
    storage.write([Write(serial=3, archives=(archive(5, 8, End.LEFT, whole=False),), clear=True)])
    storage.write([chunk(0, b"another history's"), Write(serial=4, snapshot=snapshot(2, 1), base=base(2))])
    storage.close()
    again = reopen()
    assert again.archives() == (Archived(number=1, ended=ended(8, End.LEFT), whole=False),)
    entries = tuple(map(entry, range(5, 9)))
    assert read(again, 1) == (Restored(entries=entries, base=base(4), snapshot=snapshot(6, 2)), [b"one", b"two"])
    assert (again.chunk(0), again.chunk(1)) == (b"another history's", None)
    again.close()


def test_a_log_that_is_a_snapshot_and_nothing_else(reopen: Opener) -> None:
    storage = reopen()
    storage.write([chunk(0, b"s"), Write(serial=1, snapshot=snapshot(6, 1), base=base(6))])
    storage.write([Write(serial=2, archives=(Archive(ended=ended(6), whole=True),), clear=True)])
    assert read(storage, 1) == (Restored(base=base(6), snapshot=snapshot(6, 1)), [b"s"])
    storage.close()


def test_a_history_that_is_born_again_goes_on_with_the_log_that_was_kept(reopen: Opener) -> None:
    storage = reopen()
    fill(storage, 8)
    storage.write([chunk(0, b"s"), Write(serial=2, snapshot=snapshot(6, 1), base=base(4))])
    genesis = replace(entry(9, term=2), payload=GENESIS)
    reborn = Write(serial=3, archives=(archive(5, 8, End.REBORN),), replace_from=Index(9), entries=(genesis,))
    storage.write([reborn])
    storage.close()
    again = reopen()
    kept = tuple(map(entry, range(5, 9)))
    assert again.load() == Restored(entries=(*kept, genesis), base=base(4), snapshot=snapshot(6, 1))
    assert again.chunk(0) == b"s"
    assert read(again, 1) == (Restored(entries=kept, base=base(4), snapshot=snapshot(6, 1)), [b"s"])
    again.write([chunk(0, b"t"), Write(serial=4, snapshot=snapshot(9, 1), base=base(9))])
    again.write([chunk(0, b"u"), Write(serial=5, snapshot=snapshot(9, 1), base=base(9))])
    assert read(again, 1)[1] == [b"s"], "it does not change with the log that goes on"
    again.close()


def test_one_write_may_keep_the_log_twice(reopen: Opener) -> None:
    """Reborn, and left before that was on the disk."""
    storage = reopen()
    fill(storage, 5)
    both = (archive(1, 4, End.REBORN), archive(1, 5, End.LEFT, whole=False))
    storage.write([Write(serial=2, archives=both, clear=True)])
    kinds = [(kept.number, kept.ended.how, kept.whole) for kept in storage.archives() if kept.ended]
    assert kinds == [(1, End.REBORN, True), (2, End.LEFT, False)]
    assert [len(read(storage, number)[0].entries) for number in (1, 2)] == [4, 5]
    storage.close()


def test_each_archive_has_a_number_of_its_own(reopen: Opener) -> None:
    for number in range(1, 5):
        storage = reopen()
        fill(storage, number)
        storage.write([chunk(0, b"%d" % number), Write(serial=2, snapshot=snapshot(number, 1))])
        storage.write([Write(serial=3, archives=(archive(1, number),), clear=True)])
        storage.close()
    storage = reopen()
    assert [kept.number for kept in storage.archives()] == [1, 2, 3, 4]
    for number in range(1, 5):
        restored, chunks = read(storage, number)
        assert len(restored.entries) == number
        assert chunks == [b"%d" % number]
    storage.close()


def test_what_comes_with_the_write_that_archives_is_kept_too(reopen: Opener) -> None:
    """A member learns the seal and that it is committed in one step: no write had it before."""
    storage = reopen()
    fill(storage, 5)
    newer = tuple(entry(index, term=2) for index in range(4, 7))
    whole = Archive(ended=ended(6), whole=True, entries=(*map(entry, range(1, 4)), *newer))
    storage.write([Write(serial=2, archives=(whole,), clear=True)])
    assert read(storage, 1)[0].entries == whole.entries
    storage.close()


def test_there_is_no_such_archive(reopen: Opener) -> None:
    storage = reopen()
    fill(storage, 2)
    storage.write([Write(serial=2, archives=(archive(1, 2),))])
    for number in (0, 2, -1):
        with pytest.raises(StorageError, match=f"there is no archive {number}; `archive list` shows"):
            storage.load_archive(number)
    storage.close()


# --- on a disk


def two_archives(path: Path) -> None:
    storage = SqliteStorage(path)
    for number in (1, 2):
        fill(storage, 8)
        storage.write([chunk(0, b"one"), chunk(1, b"two"), Write(serial=2, snapshot=snapshot(6, 2), base=base(4))])
        storage.write([Write(serial=3, archives=(archive(5, 8),), clear=number == 1)])
    storage.close()


def test_what_was_never_on_the_disk_leaves_no_gap(tmp_path: Path) -> None:
    """A snapshot came in the same step, and was dropped with the log: what is behind it fits nothing."""
    storage = SqliteStorage(tmp_path / "g.sqlite")
    fill(storage, 3)
    storage.write([Write(serial=2, archives=(archive(11, 12, whole=False),), clear=True)])
    assert read(storage, 1)[0].entries == tuple(map(entry, range(1, 4)))
    storage.close()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE archived_entries SET data = x'0011223344' WHERE number = 1 AND idx = 6", "entry 6 has a wrong check"),
        ("DELETE FROM archived_entries WHERE number = 1 AND idx = 6", "entry 6 is missing"),
        ("DELETE FROM archived_entries WHERE number = 1 AND idx = 8", "entry 8 is missing"),
        ("DELETE FROM archived_entries WHERE number = 1", "entry 5 is missing"),
        ("UPDATE archived_chunks SET data = x'0011223344' WHERE number = 1", "chunk 0 of its snapshot has a wrong"),
        ("DELETE FROM archived_chunks WHERE number = 1 AND chunk = 1", "chunk 1 of its snapshot is missing"),
        ("UPDATE archives SET data = x'0011223344' WHERE number = 1", "its description has a wrong checksum"),
        ("UPDATE archives SET data = x'C049662D3D' WHERE number = 1", "its description cannot be read"),
    ],
)
def test_a_damaged_archive_concerns_nobody_else(tmp_path: Path, damage: str, problem: str) -> None:
    path = tmp_path / "g.sqlite"
    two_archives(path)
    with sqlite3.connect(path) as db:
        assert db.execute(damage).rowcount > 0
    db.close()
    storage = SqliteStorage(path)
    assert len(storage.load().entries) == 4
    assert [kept.number for kept in storage.archives()] == [1, 2]
    with pytest.raises(StorageError, match=rf"archive 1 in .*g\.sqlite cannot be read: {problem}.*Another member"):
        read(storage, 1)
    assert read(storage, 2)[1] == [b"one", b"two"]
    storage.write([Write(serial=1, archives=(archive(5, 8),), clear=True)])
    assert [kept.number for kept in storage.archives()] == [1, 2, 3]
    storage.close()


def test_of_a_damaged_description_only_the_number_is_known(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    two_archives(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE archives SET data = x'0011223344' WHERE number = 1")
    db.close()
    storage = SqliteStorage(path)
    assert storage.archives() == (
        Archived(number=1, ended=None, whole=False),
        Archived(number=2, ended=ended(8), whole=True),
    )
    storage.close()


def test_an_archive_that_does_not_fit_on_the_disk_leaves_the_log(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    fill(storage, 2000)
    storage._db.execute("PRAGMA max_page_count=1")
    with pytest.raises(StorageError, match="the disk is full"):
        storage.write([Write(serial=2, archives=(archive(1, 2000),), clear=True)])
    assert len(storage.load().entries) == 2000
    assert storage.archives() == ()
    storage.close()
