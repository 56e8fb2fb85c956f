"""A file of release 0.1 becomes one of this release, at the first opening. ``data_0_1/write_format_2.py`` made the file."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from p2praft import PeerId, StorageError
from p2praft.raft.effects import HardState, Restored, Write
from p2praft.raft.entries import Base, Commands, Configuration, LogEntry, NoOp, OpenSession, Snapshot
from p2praft.raft.histories.entries import Genesis, Past
from p2praft.raft.histories.record import Record
from p2praft.raft.log import Log
from p2praft.raft.types import NO_DIGEST, Cursor, Index, Member, Term
from p2praft.storage import SqliteStorage, archives, format_2
from p2praft.storage.base import Archived
from p2praft.storage.sealed import seal_bytes
from tests.storage.test_archives import archive, read

FIXTURE = Path(__file__).parent / "data_0_1" / "format_2.sqlite"
DURABLE, VOLATILE, GONE = (
    Member(PeerId(bytes([number]) * 32), bytes([number]) * 8, number == 2) for number in (1, 2, 3)
)


def genesis(history: bytes, attempt: int, *founders: Member) -> Genesis:
    return Genesis(
        history=history * 16, writer=DURABLE, attempt=attempt, founders=founders, reluctant=False, created=1.5
    )


THIRD = genesis(b"c", 3, DURABLE, VOLATILE)


def entry(
    term: int, index: int, payload: Genesis | NoOp | OpenSession | Commands | Configuration | None = None
) -> LogEntry:
    first = index - 4
    payload = payload or Commands(session=4, first=first, settled=first - 1, commands=(b"word %d" % first, b"again"))
    return LogEntry(term=Term(term), index=Index(index), time=float(index), proposer=DURABLE.peer_id, payload=payload)


def base(of: Genesis, index: int, *voters: Member, commands: int) -> Base:
    durable = 2 if GONE in voters else 1
    past = Past(genesis=of, begins=Index(1), commands=commands, durable=durable, breadth=len(voters))
    return Base(
        last=Cursor(Term(2), Index(index)),
        time=float(index),
        digest=NO_DIGEST,
        voters=voters,
        voters_index=Index(3),
        past=past,
    )


LIVE = Restored(
    state=HardState(term=Term(3), vote=VOLATILE),
    record=Record(history=b"c" * 16, founded=True, attempt=3, lost=(GONE,)),
    entries=(
        *(entry(2, index) for index in range(6, 9)),
        entry(3, 9, NoOp()),
        entry(3, 10, Configuration(voters=(DURABLE, VOLATILE))),
    ),
    base=base(THIRD, 5, DURABLE, VOLATILE, GONE, commands=4),
    snapshot=Snapshot(base=base(THIRD, 7, DURABLE, VOLATILE, GONE, commands=6), chunks=3, digest=b"e" * 32),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file in a place of its own."""
    path = tmp_path / "g.sqlite"
    shutil.copy(FIXTURE, path)
    return path


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def contents(path: Path) -> list[str]:
    with sqlite3.connect(path) as db:
        found = [*db.iterdump(), str(db.execute("PRAGMA user_version").fetchone())]
    db.close()
    return found


def test_the_live_log_is_what_it_was(path: Path) -> None:
    for start in (1, 2):
        storage = SqliteStorage(path)
        assert storage.start == start
        assert len(storage.incarnation) == 8
        assert storage.load() == LIVE
        assert [storage.chunk(number) for number in range(4)] == [b"chunk 0", b"chunk 1", b"chunk 2", None]
        storage.close()


def test_the_member_stays_who_it_was(path: Path) -> None:
    with sqlite3.connect(path) as db:
        incarnation: bytes = db.execute("SELECT data FROM meta WHERE name = 'incarnation'").fetchone()[0]
    db.close()
    storage = SqliteStorage(path)
    assert storage.incarnation == incarnation
    storage.close()


def test_the_log_can_be_gone_on_with(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.write([Write(serial=1, replace_from=Index(11), entries=(entry(3, 11),))])
    storage.close()
    storage = SqliteStorage(path)
    held = storage.load()
    storage.close()
    log = Log(held.entries, held.base)
    assert log.last == Cursor(Term(3), Index(11))
    assert log.commands == 8, "entries 2 to 5 may all have had some; 6, 7, 8 and 11 have"
    assert held.snapshot is not None
    assert held.snapshot.base == log.base_at(7)


def test_what_may_have_had_commands_has_data(path: Path) -> None:
    """Too many rather than too few: of a history that seems to have none, nobody would keep anything."""
    at = Cursor(Term(1), Index(2))
    assert old_base(last=at).converted.past.measure.has_data
    assert not old_base(last=Cursor(Term(1), Index(1))).converted.past.measure.has_data


def old_base(**changes: object) -> format_2._Base:
    first = format_2._Genesis(
        history=b"c" * 16, writer=DURABLE, attempt=3, founders=(DURABLE,), reluctant=False, created=1.5
    )
    base = format_2._Base(
        last=Cursor(Term(1), Index(1)), time=1.0, genesis=first, voters=(DURABLE,), voters_index=Index(1)
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_the_widest_set_that_is_known_counts() -> None:
    past = old_base(voters=(DURABLE, VOLATILE, GONE)).converted.past
    assert (past.breadth, past.durable) == (3, 2)
    founders = replace(old_base().genesis, founders=(VOLATILE, GONE))
    past = old_base(genesis=founders).converted.past
    assert (past.breadth, past.durable) == (2, 1)


def test_archives_are_read(path: Path) -> None:
    storage = SqliteStorage(path)
    assert storage.archives() == tuple(Archived(number=number, ended=None, whole=False) for number in (1, 2))
    word = Commands(session=4, first=1, settled=0, commands=(b"word 1", b"again"))
    first = genesis(b"a", 1, DURABLE)
    assert read(storage, 1) == (Restored(entries=(entry(1, 1, first), entry(1, 2, word))), [])
    second = genesis(b"b", 2, DURABLE, VOLATILE)
    begin = base(second, 6, DURABLE, VOLATILE, commands=5)
    kept = Snapshot(base=begin, chunks=2, digest=b"d" * 32)
    expected = Restored(entries=(entry(2, 7), entry(2, 8)), base=begin, snapshot=kept)
    assert read(storage, 2) == (expected, [b"archived ", b"state"])
    storage.close()


def test_the_next_archive_gets_the_next_number(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.write([Write(serial=1, archives=(archive(11, 10),), clear=True)])
    assert [kept.number for kept in storage.archives()] == [1, 2, 3]
    restored, chunks = read(storage, 3)
    assert restored == replace(LIVE, state=HardState(), record=Record())
    assert chunks == [b"chunk 0", b"chunk 1", b"chunk 2"]
    assert read(storage, 2)[1] == [b"archived ", b"state"]
    storage.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE archive SET data = x'0011223344' WHERE number = 2 AND idx = 0",
        "UPDATE archive SET data = x'0011223344' WHERE number = 2 AND idx = 8",
        "DELETE FROM archive WHERE number = 2 AND idx = 7",
        "DELETE FROM archive WHERE number = 2 AND idx = 0",
        "UPDATE chunks SET data = x'0011223344' WHERE at >> 32 = 3",
    ],
)
def test_a_damaged_archive_is_no_obstacle(path: Path, damage: str) -> None:
    change(path, damage)
    storage = SqliteStorage(path)
    assert storage.load() == LIVE
    assert len(storage.archives()) == 2
    assert len(read(storage, 1)[0].entries) == 2
    with pytest.raises(StorageError, match=r"archive 2 in .* cannot be read"):
        read(storage, 2)
    storage.close()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE entries SET data = x'0011223344' WHERE idx = 7", "entry 7 has a wrong checksum"),
        ("DELETE FROM entries WHERE idx = 7", "entry 7 is missing"),
        ("DELETE FROM meta WHERE name = 'snapshot'", "behind entry 5, but there is no snapshot"),
        ("DELETE FROM meta WHERE name = 'base'", "entry 1 is missing"),
        ("UPDATE meta SET data = x'0011223344' WHERE name = 'base'", "the log's base has a wrong checksum"),
        ("UPDATE meta SET data = x'0011223344' WHERE name = 'state'", "the hard state has a wrong checksum"),
        ("UPDATE meta SET data = x'0011223344' WHERE name = 'snapshot'", "the snapshot's description has a wrong"),
        ("DELETE FROM meta WHERE name = 'incarnation'", "it has no incarnation"),
    ],
)
def test_a_damaged_log_is_refused_and_left_as_it_is(path: Path, damage: str, problem: str) -> None:
    change(path, damage)
    before = contents(path)
    with pytest.raises(StorageError, match=rf"g\.sqlite is corrupt: .*{problem}.*Move it away"):
        SqliteStorage(path)
    assert contents(path) == before


def set_state(path: Path, **changes: object) -> None:
    state = replace(format_2._HardState(term=Term(1), vote=DURABLE, attempt=3), **changes)  # type: ignore[arg-type]
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET data = ? WHERE name = 'state'", (format_2._STATE.seal(state),))
    db.close()


def whole_log(path: Path) -> None:
    """As before anything was compacted: the genesis and a no-op."""
    rows = [[1, 1, 1.0, DURABLE.peer_id.to_wire(), [1, *plain_genesis()]], [2, 2, 2.0, DURABLE.peer_id.to_wire(), [2]]]
    change(path, "DELETE FROM entries", "DELETE FROM meta WHERE name IN ('base', 'snapshot')")
    with sqlite3.connect(path) as db:
        for row in rows:
            db.execute("INSERT INTO entries VALUES (?, ?)", (row[1], seal_bytes(msgpack.packb(row))))
    db.close()


def plain_genesis() -> list[object]:
    members = [
        [member.peer_id.to_wire(), member.incarnation, member.volatile] for member in (DURABLE, DURABLE, VOLATILE)
    ]
    return [b"c" * 16, members[0], 3, members[1:], False, 1.5]


def test_a_genesis_that_is_not_founded_stays_so(path: Path) -> None:
    whole_log(path)
    set_state(path)
    storage = SqliteStorage(path)
    assert storage.load() == Restored(
        state=HardState(term=Term(1), vote=DURABLE),
        record=Record(history=b"c" * 16, founded=False, attempt=3),
        entries=(entry(1, 1, THIRD), entry(2, 2, NoOp())),
    )
    storage.close()


def test_a_snapshot_with_the_whole_log_before_it(path: Path) -> None:
    with sqlite3.connect(path) as db:
        kept: bytes = db.execute("SELECT data FROM meta WHERE name = 'snapshot'").fetchone()[0]
    db.close()
    whole_log(path)
    old = format_2._KEPT.unseal(kept, "it")
    at_2 = replace(old.snapshot, base=old_base(last=Cursor(Term(2), Index(2))))
    with sqlite3.connect(path) as db:
        data = format_2._KEPT.seal(replace(old, snapshot=at_2))
        db.execute("INSERT INTO meta VALUES ('snapshot', ?)", (data,))
    db.close()
    storage = SqliteStorage(path)
    held = storage.load()
    assert held.base is None
    assert held.snapshot is not None
    assert held.snapshot.base.past == Past(genesis=THIRD, begins=Index(1), commands=0, durable=1, breadth=2)
    storage.close()


def test_a_member_that_has_given_its_history_up(path: Path) -> None:
    change(path, "DELETE FROM entries", "DELETE FROM meta WHERE name IN ('base', 'snapshot')")
    set_state(path, term=Term(0), vote=None, lost=(GONE,))
    storage = SqliteStorage(path)
    assert storage.load() == Restored(record=Record(attempt=3, lost=(GONE,)))
    storage.close()


def test_a_file_in_which_nothing_was_written(path: Path) -> None:
    tables = ("entries", "archive", "chunks")
    change(path, *(f"DELETE FROM {table}" for table in tables), "DELETE FROM meta WHERE name <> 'incarnation'")
    storage = SqliteStorage(path)
    assert storage.load() == Restored()
    assert (storage.start, storage.archives()) == (1, ())
    storage.close()


def test_a_file_from_before_there_were_snapshots(path: Path) -> None:
    whole_log(path)
    change(path, "DROP TABLE chunks", "DELETE FROM archive", "PRAGMA user_version=1")
    storage = SqliteStorage(path)
    assert len(storage.load().entries) == 2
    storage.close()


@pytest.mark.parametrize("step", ["_convert_live", "_convert_archives", "_convert_archive"])
def test_a_crash_in_the_middle_leaves_the_old_file(path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before or behind each step: a copy of what is on the disk then, as the next boot finds it."""
    crashed: list[Path] = []
    before = contents(path)
    real: Callable[..., None] = getattr(format_2, step)

    def crash() -> None:
        folder = path.parent / str(len(crashed))
        folder.mkdir()
        for file in path.parent.glob("g.sqlite*"):
            shutil.copy(file, folder / file.name)
        crashed.append(folder / path.name)

    def crashing(*arguments: object) -> None:
        crash()
        real(*arguments)
        crash()

    monkeypatch.setattr(format_2, step, crashing)
    SqliteStorage(path).close()
    monkeypatch.undo()
    assert len(crashed) >= 2
    for found in crashed:
        assert contents(found) == before
        storage = SqliteStorage(found)
        assert storage.load() == LIVE
        assert len(storage.archives()) == 2
        storage.close()


def test_an_error_in_the_middle_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(path)
    monkeypatch.setattr(archives, "TABLES", ("CREATE TABLE entries (idx INTEGER PRIMARY KEY)",))
    with pytest.raises(StorageError, match="cannot open"):
        SqliteStorage(path)
    monkeypatch.undo()
    assert contents(path) == before
    storage = SqliteStorage(path)
    assert storage.load() == LIVE
    storage.close()


def test_the_old_release_refuses_the_new_file(path: Path) -> None:
    """It refuses what is above its own format, 2."""
    SqliteStorage(path).close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] > 2
    db.close()
