"""Snapshots in both storages, compaction, the upgrade of older files, and damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest

from p2praft import ConsensusConfig, GroupKey, Network, StorageError
from p2praft.raft.effects import ChunkWrite, HardState, Restored, Write
from p2praft.raft.messages import Base, Cursor, Index, Snapshot, Term
from p2praft.storage import SqliteStorage
from tests.groups.conftest import Counter
from tests.storage.test_storage import GENESIS, ME, Opener, entry, reopen
from transport import MemoryNetwork

__all__ = ["reopen"]
KEY = GroupKey(b"k" * 32)


def base(index: int) -> Base:
    last = Cursor(Term(1), Index(index))
    return Base(last=last, time=float(index), genesis=GENESIS, voters=(ME,), voters_index=Index(1))


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
    assert held.genesis == GENESIS
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
    storage.write([Write(serial=2, state=HardState(attempt=2), clear=True)])
    assert storage.load() == Restored(state=HardState(attempt=2))
    assert storage.chunk(0) is None
    storage.close()


def test_an_archived_history_keeps_its_snapshot_and_its_chunks(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "g.sqlite")
    storage.write([chunk(0, b"s"), Write(serial=1, snapshot=snapshot(6, 1), base=base(6))])
    storage.write([Write(serial=2, replace_from=Index(7), entries=(entry(7),))])
    storage.write([Write(serial=3, state=HardState(), clear=True, archive=True)])
    storage.write([chunk(0, b"t"), Write(serial=4, snapshot=snapshot(2, 1), base=base(2))])
    assert storage.chunk(0) == b"t"
    storage.close()
    with sqlite3.connect(tmp_path / "g.sqlite") as db:
        assert db.execute("SELECT number, idx FROM archive ORDER BY idx").fetchall() == [(1, 0), (1, 7)]
        assert [data[:-4] for (data,) in db.execute("SELECT data FROM chunks WHERE at >> 32 = 2")] == [b"s"]
    db.close()


def test_a_file_of_the_format_before_is_upgraded_in_place(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    storage = SqliteStorage(path)
    incarnation = storage.incarnation
    storage.write([Write(serial=1, replace_from=Index(1), entries=(entry(1),))])
    storage.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE chunks")
        db.execute("PRAGMA user_version=1")
    db.close()
    storage = SqliteStorage(path)
    assert storage.incarnation == incarnation
    storage.write([chunk(0, b"s"), Write(serial=2, snapshot=snapshot(1, 1), base=base(1))])
    assert storage.chunk(0) == b"s"
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
        storage.write([Write(serial=1, state=HardState(attempt=1))])
    storage.close()


def test_a_place_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "g.sqlite").mkdir()
    with pytest.raises(StorageError, match=r"cannot open .*g\.sqlite"):
        SqliteStorage(tmp_path / "g.sqlite")


@pytest.mark.anyio
async def test_a_restart_begins_with_the_snapshot_and_applies_what_stands_behind_it(tmp_path: Path) -> None:
    config = ConsensusConfig(snapshot_every=100)
    for first in (True, False):
        async with (
            Network("n", listen="a:0", data_dir=tmp_path, transport=MemoryNetwork().transport("a")) as net,
            net.group("g", secret=KEY, machine=Counter(), consensus=config) as group,
        ):
            with anyio.fail_after(30):
                await group.when.online()
                if first:
                    for _ in range(350):
                        await group.execute(1)
                    while group._worker.engine.ctx.log.base.index < 100:
                        await anyio.sleep(0.01)
                else:
                    assert group._worker.engine.ctx.log.base.index >= 100
                    assert await group.execute(1) == 351
