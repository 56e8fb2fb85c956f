"""The order of histories: total, and no history ever goes back in it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, strategies as st

from p2praft.raft.entries import Commands, Configuration, LogEntry, NoOp, OpenSession, Payload
from p2praft.raft.histories.entries import Absorb, Absorbed, Branch, Measure, Past
from p2praft.raft.log import Log
from p2praft.raft.types import Index
from tests.raft.support import at, entry, genesis, member

OTHER = b"o" * 16
GENESIS = genesis([member(1)])
PAYLOADS: tuple[Payload, ...] = (
    NoOp(),
    OpenSession(nonce=bytes(16)),
    Commands(session=1, first=1, settled=0, commands=(b"x",)),
    Configuration(voters=(member(1),)),
    Configuration(voters=tuple(map(member, range(1, 6)))),
    Configuration(voters=(member(1), *(member(number, volatile=True) for number in range(2, 5)))),
    Absorb(history=OTHER, nonce=bytes(16)),
    Absorbed(branch=Branch(history=OTHER, at=at(4, 9), digest=bytes(16))),
)
entries = st.lists(st.sampled_from(PAYLOADS), max_size=30)
measures = st.builds(
    Measure,
    has_data=st.booleans(),
    quorum=st.integers(0, 3),
    durable=st.integers(0, 5),
    breadth=st.integers(0, 5),
    digits=st.integers(0, 9),
    history=st.sampled_from([b"a" * 16, b"b" * 16]),
)


def numbered(payloads: list[Payload]) -> tuple[LogEntry, ...]:
    """A log of these, behind its genesis."""
    return tuple(entry(1, index, payload) for index, payload in enumerate([GENESIS, *payloads], start=1))


def past(log: Log) -> Past:
    """What the whole log says of its history."""
    found = log.past
    assert found is not None
    assert found == log.past_at(log.last.index)
    return found


@given(measures, measures)
def test_of_any_two_one_is_lower_unless_they_are_one(one: Measure, other: Measure) -> None:
    assert (one < other) + (other < one) + (one == other) == 1


@given(entries)
def test_every_entry_leaves_a_history_where_it_is_or_takes_it_up(payloads: list[Payload]) -> None:
    log = Log(numbered(payloads))
    places = [found.measure for index in range(1, log.last.index + 1) if (found := log.past_at(index)) is not None]
    assert len(places) == len(payloads) + 1
    assert places == sorted(places)


@given(entries, st.data())
def test_what_was_compacted_counts_as_before(payloads: list[Payload], data: st.DataObject) -> None:
    whole, compacted = Log(numbered(payloads)), Log(numbered(payloads))
    past(compacted)
    compacted.begin_behind(compacted.base_at(data.draw(st.integers(1, len(payloads) + 1))))
    assert past(compacted) == past(whole)
    assert Log((), compacted.base_at(compacted.last.index)).commands == whole.commands


@given(entries, st.data())
def test_what_was_truncated_counts_no_more(payloads: list[Payload], data: st.DataObject) -> None:
    log = Log(numbered(payloads))
    past(log)
    first = data.draw(st.integers(2, len(payloads) + 2))
    log.cut(Index(first))
    assert past(log) == past(Log(numbered(payloads[: first - 2])))


def test_data_comes_before_none_a_group_before_a_lone_member_and_disks_before_memory() -> None:
    """Each outweighs all that follow it; ids only keep any two apart, and no clock decides anything."""
    lone = Measure(quorum=1, durable=1, breadth=1, history=b"z" * 16)
    memory = replace(lone, quorum=3, durable=0, breadth=5, history=OTHER)
    disks = replace(lone, quorum=3, durable=3, breadth=3)
    data = replace(lone, has_data=True, digits=1)
    busy = replace(data, digits=9)
    assert sorted([busy, data, disks, memory, lone]) == [lone, memory, disks, data, busy]


def test_three_and_five_voters_are_the_same_group_beside_their_disks() -> None:
    assert past(Log((entry(1, 1, genesis(list(map(member, range(1, 6))))),))).measure.quorum == 3
    assert past(Log((entry(1, 1, genesis([member(1), member(2)])),))).measure.quorum == 2


def test_a_reborn_history_keeps_its_parents_data_and_begins_with_its_own_breadth() -> None:
    parent = numbered([PAYLOADS[2], PAYLOADS[4], PAYLOADS[7]])
    branch = Branch(history=GENESIS.history, at=parent[-1].cursor, digest=bytes(16))
    child = genesis([member(1), member(2)], history=b"c" * 16, ancestors=[branch])
    found = past(Log((*parent, entry(2, 5, child))))
    assert (found.genesis, found.begins, found.commands) == (child, 5, 1)
    assert (found.breadth, found.durable) == (2, 2), "voters of the parent say nothing of who holds the child"
    assert set(found.known) == {GENESIS.history, OTHER}


def test_histories_taken_over_are_known_with_all_that_they_had_taken_over() -> None:
    taken = Absorbed(branch=Branch(history=OTHER, at=at(4, 9), digest=bytes(16)), also=(b"p" * 16, b"q" * 16))
    found = past(Log(numbered([taken, taken])))
    assert found.known == (OTHER, b"p" * 16, b"q" * 16)
    assert found.absorbed == (taken.branch,)
