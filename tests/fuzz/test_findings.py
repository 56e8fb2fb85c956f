"""What fuzzing found, each as the smallest case that shows it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from p2praft.groups.bond import BOND
from p2praft.groups.machine import pack
from p2praft.raft.catchup import EntryFetch, SnapshotFetch
from p2praft.raft.entries import Snapshot
from p2praft.raft.histories.entries import Branch
from p2praft.raft.histories.messages import Standing
from p2praft.raft.histories.states import State
from p2praft.raft.messages import FetchChunk, FetchEntries, InstallSnapshot
from p2praft.raft.types import Index
from tests.raft.support import HISTORY, Bench, Lone, append, at, base, entry, genesis, member, only, standing
from transport import WireError

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("first", ["no genesis", "a second first one", "one that branches off elsewhere"])
def test_a_log_begins_with_a_genesis_and_another_branches_off_where_it_stands(first: str) -> None:
    """Otherwise a member held entries of no history, or of two."""
    bench = Bench(3)
    held = bench.engine.last
    other = genesis(bench.voters, history=b"o" * 16)
    elsewhere = Branch(history=HISTORY, at=at(1, 2), digest=bytes(16))
    entries = {
        "no genesis": (entry(2, 1),),
        "a second first one": (entry(2, 2, other),),
        "one that branches off elsewhere": (entry(2, 2, replace(other, ancestors=(elsewhere,))),),
    }[first]
    prev = at(0, 0) if entries[0].index == 1 else held
    bench.receive(append(2, prev, *entries), bench.members[1])
    assert bench.engine.last == held
    assert bench.engine.status().genesis == bench.genesis


def test_how_far_behind_a_leader_says_we_are_takes_no_memory() -> None:
    bench = Bench(3)
    tracemalloc.start()
    try:
        sent = bench.receive(append(1, at(1, 2**62), commit=2**62), bench.members[1])
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()
    assert isinstance(bench.engine.catch_up._fetch, EntryFetch)
    assert [message.first for message in only(sent, FetchEntries)] == [2, 1026, 2050, 3074]


def test_how_many_chunks_a_snapshot_is_said_to_have_takes_no_memory() -> None:
    bench = Bench(3)
    snapshot = Snapshot(base=base(at(1, 9), bench.genesis), chunks=1 << 24, digest=bytes(32))
    says = standing(bench.genesis, founded=True, snapshot=snapshot)
    tracemalloc.start()
    try:
        bench.receive(says, bench.members[2])
        sent = bench.receive(InstallSnapshot(term=bench.engine.term, base=at(1, 9), round=1), bench.members[1])
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()
    assert isinstance(bench.engine.catch_up._fetch, SnapshotFetch)
    assert [message.number for message in only(sent, FetchChunk)] == [0, 1, 2, 3]
    assert bench.engine.commit <= Index(1)


def test_who_says_that_it_holds_no_history_founded_leads_nobody() -> None:
    """Otherwise a member without history took up terms and entries of none."""
    lone = Lone()
    lone.meet(member(2), Standing(factor=1.0, founded=True))
    lone.hear(append(3, at(0, 0), entry(3, 1, genesis([member(2)]))), member(2))
    assert (lone.state(), lone.engine.term, lone.engine.last) == (State.NONE, 0, at(0, 0))


def test_an_integer_beyond_64_bits_is_refused_as_a_value() -> None:
    with pytest.raises(TypeError, match="beyond 64 bits"):
        pack([2**64])


@pytest.mark.parametrize("item", [b"\x90", b"\x91\xc0", b"\xc4\x00"], ids=["empty lists", "short lists", "empty bytes"])
def test_a_frame_takes_a_bounded_multiple_of_its_memory(item: bytes) -> None:
    """Anybody in the network may send the largest frame of a bond before he has proven anything."""
    count = 200_000
    payload = b"\xdd" + count.to_bytes(4, "big") + item * count
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            BOND.decode(payload)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(payload)
    finally:
        tracemalloc.stop()
