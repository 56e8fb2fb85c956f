"""How far a member that fetches is, for people who wait for it."""

from __future__ import annotations

from p2praft import SecretKey
from p2praft.raft.catchup import CatchUp, EntryFetch, SnapshotFetch
from p2praft.raft.entries import Snapshot
from p2praft.raft.types import Index, Member
from tests.raft.support import at, base, genesis

MEMBER = Member(SecretKey.generate().peer_id, bytes(8), False)


def test_nothing_is_fetched() -> None:
    assert CatchUp().progress is None


def test_ranges_of_entries_that_have_come() -> None:
    catch_up = CatchUp()
    fetch = catch_up._fetch = EntryFetch(Index(101), Index(1100), 256)
    assert catch_up.progress == ("entries", 0, 4)
    fetch.busy[fetch.pieces.popleft()] = (MEMBER, 1.0)
    assert catch_up.progress == ("entries", 0, 4), "asked for is not had"
    assert fetch.answered(101, MEMBER)
    assert catch_up.progress == ("entries", 1, 4)


def test_chunks_of_a_snapshot_that_have_come() -> None:
    catch_up = CatchUp()
    fetch = catch_up._fetch = SnapshotFetch(
        Snapshot(base=base(at(1, 7), genesis([MEMBER])), chunks=10, digest=bytes(32))
    )
    for _ in range(3):
        fetch.pieces.popleft()
    assert catch_up.progress == ("snapshot", 3, 10)
