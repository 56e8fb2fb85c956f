"""Snapshots in both storages, compaction, and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2praft import StorageError
from p2praft.raft.effects import ChunkWrite, HardState, Restored, Write
from p2praft.raft.entries import Base, Snapshot
from p2praft.raft.histories.entries import Past
from p2praft.raft.types import Cursor, Index, Term
from p2praft.storage import SqliteStorage
from tests.storage.test_storage import BRANCH, GENESIS, ME, RECORD, Opener, entry, reopen

__all__ = ["reopen"]


def base(index: int) -> Base:
    return Base(
        last=Cursor(Term(1), Index(index)),
        time=float(index),
        digest=bytes([index]) * 16,
        voters=(ME,),
        voters_index=Index(1),
        past=Past(genesis=GENESIS, begins=Index(1), commands=index - 1, durable=1, breadth=1, absorbed=(BRANCH,)),
    )


def snapshot(index: int, chunks: int) -> Snapshot:
    return Snapshot(base=base(index), chunks=chunks, digest=bytes([index]) * 32)


def chunk(number: int, data: bytes) -> ChunkWrite:
    return ChunkWrite(number=number, data=data)


def test_a_snapshot_counts_once_a_write_names_it(reopen: Opener) -> None:
    storage = reopen()
    storage.write([Write(serial=1, replace_from=Index(1), entries=tuple(map(entry, range(1, 9))))])
    storage.write([chunk(0, b"one"), chunk(1, b"two")])
    assert storage.load().snapshot is None
    assert (storage.chunk(0), storage.chunk(0, pending=True)) == (None, b"one")
    storage.write([Write(serial=2, snapshot=snapshot(6, 2), base=base(4))])
    storage.close()
    again = reopen()
    held = again.load()
    assert held == Restored(entries=tuple(map(entry, range(5, 9))), base=base(4), snapshot=snapshot(6, 2))
    assert [again.chunk(number) for number in range(3)] == [b"one", b"two", None]
    again.close()


def test_the_old_snapshot_stays_readable_while_the_next_is_stored(reopen: Opener) -> None:
    storage = reopen()
    storage.write([chunk(0, b"old"), chunk(1, b"er"), Write(serial=1, snapshot=snapshot(3, 2), base=base(3))])
    storage.write([chunk(0, b"new")])
    assert (storage.chunk(0), storage.chunk(0, pending=True)) == (b"old", b"new")
    storage.write([Write(serial=2, snapshot=snapshot(5, 1), base=base(5))])
    assert storage.chunk(0) == b"new"
    storage.write([chunk(0, b"third"), Write(serial=3, snapshot=snapshot(6, 1), base=base(6))])
    assert (storage.chunk(0), storage.chunk(1)) == (b"third", None), "a shorter one leaves nothing of a longer one"
    storage.close()


def test_installing_replaces_a_log_that_disagrees(reopen: Opener) -> None:
    storage = reopen()
    storage.write([Write(serial=1, replace_from=Index(1), entries=tuple(map(entry, range(1, 9))))])
    install = Write(serial=2, snapshot=snapshot(6, 1), base=base(6), replace_from=Index(7))
    storage.write([chunk(0, b"s"), install, Write(serial=3, replace_from=Index(7), entries=(entry(7, term=2),))])
    assert storage.load().entries == (entry(7, term=2),)
    storage.close()


def test_a_history_that_is_given_up_takes_its_snapshot_with_it(reopen: Opener) -> None:
    storage = reopen()
    storage.write([chunk(0, b"s"), Write(serial=1, snapshot=snapshot(6, 1), base=base(6))])
    storage.write([chunk(0, b"half of the next")])
    storage.write([Write(serial=2, state=HardState(term=Term(2)), record=RECORD, clear=True)])
    assert storage.load() == Restored(state=HardState(term=Term(2)), record=RECORD)
    assert (storage.chunk(0), storage.chunk(0, pending=True)) == (None, None)
    storage.close()


def test_a_damaged_chunk_is_found_when_it_is_read(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage.write([chunk(0, b"s"), Write(serial=1, snapshot=snapshot(6, 1), base=base(6))])
    storage._db.execute("UPDATE chunks SET data = x'0011223344'")
    with pytest.raises(StorageError, match="chunk 0 of the snapshot has a wrong checksum"):
        storage.chunk(0)
    storage.close()


def test_a_compacted_log_without_its_snapshot_is_refused(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage.write([chunk(0, b"s"), Write(serial=1, snapshot=snapshot(6, 1), base=base(6))])
    storage._db.execute("DELETE FROM meta WHERE name = 'snapshot'")
    storage.close()
    storage = SqliteStorage(tmp_path / "g.sqlite")
    with pytest.raises(StorageError, match="begins behind entry 6, but there is no snapshot"):
        storage.load()
    storage.close()


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    storage = SqliteStorage(path)
    storage.write([Write(serial=1, replace_from=Index(1), entries=tuple(map(entry, range(1, 2000))))])
    storage.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    with pytest.raises(StorageError, match=r"g\.sqlite is corrupt.*Move it away"):
        SqliteStorage(path).load()


def test_a_disk_that_became_read_only_says_so(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage._db.execute("PRAGMA query_only=1")
    with pytest.raises(
        StorageError, match=r"cannot write .*g\.sqlite.*check who owns it and that the disk is writable"
    ):
        storage.write([Write(serial=1, state=HardState(term=Term(1)))])
    storage.close()


def test_a_place_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "g.sqlite").mkdir()
    with pytest.raises(StorageError, match=r"cannot open .*g\.sqlite"):
        SqliteStorage(tmp_path / "g.sqlite")
