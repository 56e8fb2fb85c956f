"""Damage in the write-ahead log is refused; what a crash or a power loss leaves is not."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from p2praft import StorageError
from p2praft.raft.effects import HardState, Write
from p2praft.raft.entries import Commands, LogEntry
from p2praft.raft.types import Index, Term
from p2praft.storage import SqliteStorage
from p2praft.storage.wal import FRAME_HEADER, HEADER, damaged_frame
from tests.storage.test_storage import ME, entry

FRAME = FRAME_HEADER + 4096
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Killed:
    """What a killed process left.

    Attributes:
        database: The main file's bytes.
        log: The write-ahead log's.
        acknowledged: For each write, the log's length when it was acknowledged.
    """

    database: bytes
    log: bytes
    acknowledged: tuple[int, ...]

    def put(self, folder: Path, log: bytes | None = None) -> Path:
        """Lay the files out, perhaps with another log."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / "g.sqlite"
        path.write_bytes(self.database)
        (folder / "g.sqlite-wal").write_bytes(self.log if log is None else log)
        return path

    def frames(self) -> range:
        return range((len(self.log) - HEADER) // FRAME)

    def entries_in(self, length: int) -> int:
        """How many entries were acknowledged when the log had ``length`` bytes."""
        return sum(end <= length for end in self.acknowledged)


def large(index: int, size: int) -> LogEntry:
    payload = Commands(session=1, first=index, settled=0, commands=(random.Random(index).randbytes(size),))
    return LogEntry(term=Term(1), index=Index(index), time=0.0, proposer=ME.peer_id, payload=payload)


def kill(folder: Path, writes: int = 12, last: int = 1) -> Killed:
    """A storage that took writes of one entry each, then one of an entry that fills ``last`` pages, and was killed."""
    folder.mkdir()
    path = folder / "g.sqlite"
    log = path.with_name("g.sqlite-wal")
    storage = SqliteStorage(path)
    ends = []
    for index in range(1, writes + 1):
        kept = entry(index) if index < writes else large(index, last * 4096 - 2000)
        storage.write([Write(serial=index, replace_from=Index(index), entries=(kept,))])
        ends.append(log.stat().st_size)
    killed = Killed(path.read_bytes(), log.read_bytes(), tuple(ends))
    storage.close()
    return killed


def entries(path: Path) -> int:
    storage = SqliteStorage(path)
    try:
        return len(storage.load().entries)
    finally:
        storage.close()


def flipped(log: bytes, at: int, mask: int) -> bytes:
    return log[:at] + bytes([log[at] ^ mask]) + log[at + 1 :]


def test_a_killed_process_leaves_all_that_it_acknowledged_in_the_log(tmp_path: Path) -> None:
    killed = kill(tmp_path / "a")
    assert len(killed.log) >= HEADER + 12 * FRAME
    assert entries(killed.put(tmp_path / "b")) == 12


def test_one_wrong_byte_anywhere_is_refused_or_costs_the_last_write_at_most(tmp_path: Path) -> None:
    killed = kill(tmp_path / "a", writes=40, last=3)
    rng = random.Random(1)
    places = [*range(HEADER)]
    for frame in killed.frames():
        begin = HEADER + frame * FRAME
        places += [begin + rng.randrange(FRAME_HEADER), begin + rng.randrange(FRAME_HEADER, FRAME)]
    begin = HEADER + (killed.frames()[-1] - 8) * FRAME
    places += [begin + byte + frame * FRAME for frame in range(0, 9, 2) for byte in range(FRAME_HEADER)]
    refused = 0
    for at in places:
        path = killed.put(tmp_path / "b", flipped(killed.log, at, 1 << rng.randrange(8)))
        if damaged_frame(path) is not None:
            refused += 1
            continue
        if at < killed.acknowledged[-2]:  # what SQLite itself makes of it
            assert entries(path) == 40, f"byte {at} was lost in silence"
        else:
            assert entries(path) >= 39
    assert refused >= killed.acknowledged[-2] // FRAME


@pytest.mark.parametrize("byte", [0, 7, 8, 20, FRAME_HEADER + 2000])
def test_the_refusal_names_the_frame_and_what_to_do(tmp_path: Path, byte: int) -> None:
    killed = kill(tmp_path / "a")
    path = killed.put(tmp_path / "b", flipped(killed.log, HEADER + 5 * FRAME + byte, 0xFF))
    with pytest.raises(StorageError, match=r"its write-ahead log is damaged at frame 6.*Move it away"):
        SqliteStorage(path)


@pytest.mark.parametrize("byte", range(HEADER))
def test_a_damaged_header_does_not_hide_what_follows(tmp_path: Path, byte: int) -> None:
    killed = kill(tmp_path / "a")
    with pytest.raises(StorageError, match="its write-ahead log has a damaged header"):
        SqliteStorage(killed.put(tmp_path / "b", flipped(killed.log, byte, 0x10)))
    with pytest.raises(StorageError, match="has a damaged header"):
        SqliteStorage(killed.put(tmp_path / "b", bytes(HEADER) + killed.log[HEADER:]))


def test_damage_over_several_frames_is_refused(tmp_path: Path) -> None:
    killed = kill(tmp_path / "a")
    for size in (64, SECTOR, FRAME, 3 * FRAME):
        at = HEADER + 3 * FRAME + 100
        log = killed.log[:at] + b"\xa5" * size + killed.log[at + size :]
        assert damaged_frame(killed.put(tmp_path / "b", log)) in (4, 5)


def test_a_commit_mark_that_was_wiped_out_is_found(tmp_path: Path) -> None:
    """Without its mark, the last but one write looks like the beginning of the last."""
    killed = kill(tmp_path / "a")
    at = killed.acknowledged[-2] - FRAME
    log = killed.log[: at + 4] + bytes(4) + killed.log[at + 8 :]
    path = killed.put(tmp_path / "b", log)
    assert damaged_frame(path) == at // FRAME + 1


def test_a_log_that_ends_anywhere_is_a_crash(tmp_path: Path) -> None:
    killed = kill(tmp_path / "a", writes=6, last=3)
    for frame in killed.frames():
        for length in (0, FRAME_HEADER, 2000):
            cut = HEADER + frame * FRAME + length
            for tail in (b"", bytes(2 * FRAME)):
                path = killed.put(tmp_path / "b", killed.log[:cut] + tail)
                assert damaged_frame(path) is None
        assert entries(path) == killed.entries_in(cut)
    for length in range(HEADER):
        assert damaged_frame(killed.put(tmp_path / "b", killed.log[:length])) is None


@pytest.mark.parametrize("seed", range(25))
def test_a_last_write_of_which_any_sectors_are_missing_is_a_crash(tmp_path: Path, seed: int) -> None:
    """Twice: the second crash meets what the first one left behind, with the same salts."""
    rng = random.Random(seed)
    killed = kill(tmp_path / "a", writes=rng.randrange(2, 8), last=rng.randrange(2, 30))
    log = torn(killed.log, killed.acknowledged[-2], rng, old=b"")
    kept = len(killed.acknowledged) - 1
    path = killed.put(tmp_path / "b", log)
    assert damaged_frame(path) is None
    storage = SqliteStorage(path)
    found = len(storage.load().entries)
    assert found in (kept, kept + 1)
    sidecar = path.with_name("g.sqlite-wal")
    for index in range(found + 1, found + 4):
        before, length = sidecar.read_bytes(), index == found + 3 and rng.randrange(1, 30)
        write = large(index, length * 4096 if length else 100)
        storage.write([Write(serial=index, replace_from=Index(index), entries=(write,))])
    after = sidecar.read_bytes()
    again = Killed(path.read_bytes(), after, ())
    storage.close()
    assert after[:4] == before[:4]
    changed = next(at for at in range(HEADER, len(after), 8) if after[at : at + 8] != before[at : at + 8])
    path = again.put(tmp_path / "c", torn(after, changed, rng, old=before))
    assert damaged_frame(path) is None
    assert entries(path) in (found + 2, found + 3)


def torn(log: bytes, begin: int, rng: random.Random, *, old: bytes) -> bytes:
    """The log if, of the sectors from ``begin`` on, some did not reach the disk: zeros, or what stood there before."""
    old = old.ljust(len(log), b"\0")
    chance = rng.choice([0.02, 0.2, 0.5, 0.9])
    found = bytearray(log)
    for sector in range(begin // SECTOR * SECTOR, len(log), SECTOR):
        if rng.random() < chance:
            first = max(begin, sector)
            found[first : sector + SECTOR] = old[first : sector + SECTOR][: len(found) - first]
    return bytes(found)


def restarted(folder: Path) -> tuple[Killed, bytes]:
    """A log that was checkpointed as a whole, and its bytes after the write that began it anew."""
    folder.mkdir()
    path = folder / "g.sqlite"
    log = path.with_name("g.sqlite-wal")
    storage = SqliteStorage(path)
    for index in range(1, 13):
        storage.write([Write(serial=index, replace_from=Index(index), entries=(entry(index),))])
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(FULL)")
    other.close()
    full = Killed(path.read_bytes(), log.read_bytes(), ())
    storage.write([Write(serial=13, replace_from=Index(13), entries=(entry(13),))])
    after = log.read_bytes()
    storage.close()
    return full, after


def test_frames_of_the_log_before_count_for_nothing(tmp_path: Path) -> None:
    full, after = restarted(tmp_path / "a")
    assert after[16:24] != full.log[16:24], "it has begun anew"
    assert len(after) == len(full.log), "over the old frames"
    assert entries(full.put(tmp_path / "b", after)) == 13
    assert entries(full.put(tmp_path / "b", after[:HEADER] + full.log[HEADER:])) == 12


def test_a_header_torn_while_the_log_begins_anew_is_a_crash(tmp_path: Path) -> None:
    """The database has everything by then."""
    full, after = restarted(tmp_path / "a")
    for cut in range(HEADER):
        for header in (after[:cut] + full.log[cut:HEADER], full.log[:cut] + after[cut:HEADER]):
            assert entries(full.put(tmp_path / "b", header + full.log[HEADER:])) == 12


def test_a_commit_that_is_repeated_to_fill_a_sector_is_one_write(tmp_path: Path) -> None:
    """SQLite does so where it is told that a write may harm its neighbourhood (``psow=0``)."""
    killed = kill(tmp_path / "a")
    path = killed.put(tmp_path / "b")
    database = sqlite3.connect(f"file:{path}?psow=0", uri=True, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")
    before = path.with_name("g.sqlite-wal").stat().st_size
    database.execute("INSERT INTO meta VALUES ('more', ?)", (bytes(9000),))
    log = path.with_name("g.sqlite-wal").read_bytes()
    kept = Killed(path.read_bytes(), log, ())
    database.close()
    marks = [struct.unpack_from(">I", log, at + 4)[0] for at in range(before, len(log), FRAME)]
    assert sum(mark > 0 for mark in marks) > 1, "the commit is repeated"
    broken = flipped(log, before + 100, 1)
    assert damaged_frame(kept.put(tmp_path / "c", broken)) is None


def test_a_log_without_its_database_is_no_obstacle(tmp_path: Path) -> None:
    """Moved away is moved away: SQLite deletes what is left of it."""
    killed = kill(tmp_path / "a")
    path = killed.put(tmp_path / "b", flipped(killed.log, HEADER + 3 * FRAME, 1))
    path.unlink()
    assert entries(path) == 0


def test_what_was_recovered_is_on_the_disk_before_anything_stands_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = kill(tmp_path / "a")
    path = killed.put(tmp_path / "b")
    synced = []
    monkeypatch.setattr("p2praft.storage.wal.os.fsync", lambda file: synced.append(file))
    SqliteStorage(path).close()
    assert len(synced) == 1


def test_the_term_and_the_vote_are_not_forgotten_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    storage = SqliteStorage(path)
    for term in range(1, 4):
        storage.write([Write(serial=term, state=HardState(term=Term(term), vote=ME))])
    log = path.with_name("g.sqlite-wal").read_bytes()
    killed = Killed(path.read_bytes(), log, ())
    storage.close()
    at = len(log) - 2 * FRAME + 50
    with pytest.raises(StorageError, match="write-ahead log is damaged"):
        SqliteStorage(killed.put(tmp_path / "b", flipped(log, at, 1)))
