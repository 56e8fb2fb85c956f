"""Old copies of a disk are found: by what others remember, and by the digest of what stands before."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from p2praft.raft.effects import EventKind
from p2praft.raft.entries import Commands, LogEntry
from p2praft.raft.histories.entries import NO_HISTORY, Absorbed, Branch
from p2praft.raft.histories.messages import Standing, Superseded
from p2praft.raft.histories.states import State
from p2praft.raft.log import Log
from p2praft.raft.messages import AppendEntriesResponse, ReadIndex
from p2praft.raft.types import NO_DIGEST, Cursor, Vote
from tests.raft.support import (
    HISTORY,
    Bench,
    Lone,
    append,
    at,
    command,
    entry,
    founded,
    genesis,
    log,
    member,
    only,
    standing,
)

VOTERS = [member(1), member(2), member(3)]
LOG = (*log(VOTERS), command(1, 2), command(1, 3))
WRONG = b"w" * 16


def start(number: int, began_with: Cursor, *, began_in: bytes = HISTORY) -> Standing:
    """What a member says at the start of its storage with this number."""
    return standing(genesis(VOTERS), founded=True, start=number, began_in=began_in, began_with=began_with)


# --- what a member held when it started, and what it had acknowledged before


def leader() -> Bench:
    """Leads, and has had everything acknowledged by member 2, in the first start of its storage."""
    bench = Bench(3, tail=LOG[1:])
    bench.receive(start(1, at(1, 3)), member(2))
    bench.lead()
    assert bench.engine.last == at(2, 4)
    return bench


def follower() -> Bench:
    """Follows member 2, which leads and holds everything durably, in the first start of its storage."""
    bench = Bench(3, tail=LOG[1:])
    bench.receive(start(1, at(1, 3)), member(2))
    bench.receive(append(2, at(1, 3), entry(2, 4), stable=at(2, 4)), member(2))
    return bench


@pytest.mark.parametrize("remembers", [leader, follower])
def test_who_starts_with_less_than_it_had_acknowledged_is_told(remembers: type[Bench]) -> None:
    """A leader remembers what a follower acknowledged; a follower, what its leader held."""
    bench = remembers()
    told = only(bench.receive(start(2, at(1, 3)), member(2)), Superseded)
    assert told == [Superseded(incarnation=member(2).incarnation, start=2)]


@pytest.mark.parametrize("remembers", [leader, follower])
@pytest.mark.parametrize(
    "says",
    [start(2, at(2, 4)), start(2, at(3, 4)), start(1, at(1, 3)), start(2, at(1, 1), began_in=b"o" * 16)],
    ids=["all of it", "a newer term", "the same start", "another history"],
)
def test_an_honest_member_is_not_told(remembers: type[Bench], says: Standing) -> None:
    assert only(remembers().receive(says, member(2)), Superseded) == []


@pytest.mark.parametrize("remembers", [leader, follower])
def test_a_copy_of_before_it_joined_is_an_old_copy_too(remembers: type[Bench]) -> None:
    """An image of a machine that was started once, say: it has promised nothing, as far as it knows."""
    fresh = standing(start=2, began_in=NO_HISTORY)
    assert only(remembers().receive(fresh, member(2)), Superseded) == [Superseded(incarnation=bytes(8), start=2)]


def test_a_copy_of_before_it_came_from_a_history_that_has_ended_in_favour_of_ours_is_one() -> None:
    bench = leader()
    ended = Branch(history=b"o" * 16, at=at(5, 9), digest=bytes(16))
    bench.leader.append(Absorbed(branch=ended), bench.me.peer_id, bench.engine.ctx)
    assert only(bench.receive(start(2, at(5, 9), began_in=ended.history), member(2)), Superseded)


def test_in_a_history_that_is_not_founded_nobody_is_an_old_copy_for_beginning_without_it() -> None:
    """A genesis may be taken back."""
    lone = Lone(1)
    for other in (2, 3):
        lone.meet(member(other), standing(start=1))
    lone.wait(1.2)
    lone.hold(member(2))
    assert lone.state() is State.WRITING
    assert not [m for m in lone.hear(standing(start=2), member(2)) if isinstance(m, Superseded)]


def test_being_asked_again_for_what_is_old_takes_nothing_from_what_is_remembered() -> None:
    bench = leader()
    again = AppendEntriesResponse(term=bench.engine.term, vote=Vote.GRANTED, matched=True, last=at(1, 2), round=0)
    bench.receive(again, member(2))
    assert only(bench.receive(start(2, at(1, 3)), member(2)), Superseded)


def test_what_the_leader_has_not_written_yet_it_may_lose() -> None:
    bench = Bench(3, tail=LOG[1:])
    bench.receive(start(1, at(1, 3)), member(2))
    bench.receive(append(2, at(1, 3), entry(2, 4), stable=at(1, 3)), member(2))
    assert only(bench.receive(start(2, at(1, 3)), member(2)), Superseded) == []


def test_what_is_known_of_a_member_outlasts_its_bond() -> None:
    bench = leader()
    bench.engine.bond_down(member(2), bench.now)
    bench.engine.bond_up(member(2), bench.now)
    assert only(bench.receive(start(3, at(1, 2)), member(2)), Superseded)


# --- who is told


def copy(number: int = 5) -> Lone:
    """A member that starts on what may be an old copy; its storage counts this start as ``number``."""
    lone = Lone(2, restored=founded(LOG), start=number)
    lone.meet(member(1), standing(genesis(VOTERS), founded=True))
    return lone


def test_who_is_told_so_goes_on_as_another_member_with_the_log_that_it_has() -> None:
    lone = copy()
    lone.hear(Superseded(incarnation=lone.first.incarnation, start=5), member(1))
    assert lone.is_another
    assert (lone.state(), lone.history, lone.engine.last) == (State.LIVING, HISTORY, at(1, 3))
    assert lone.writes[-1].incarnation == lone.engine.me.incarnation
    assert not lone.engine.ctx.promotable, "it is no voter any more"


def test_word_of_another_start_or_none_says_nothing() -> None:
    lone = copy()
    lone.hear(Superseded(incarnation=lone.first.incarnation, start=4), member(1))
    lone.hear(Superseded(incarnation=lone.first.incarnation), member(1))
    assert not lone.is_another


def test_a_storage_that_does_not_count_its_starts_is_never_an_old_copy() -> None:
    lone = copy(0)
    lone.hear(Superseded(incarnation=lone.first.incarnation, start=0), member(1))
    assert not lone.is_another


def test_a_member_says_with_what_it_began_however_far_it_has_come() -> None:
    lone = copy()
    lone.hear(append(1, at(1, 3), command(1, 4), commit=4), member(1))
    lone.wait(5)
    said = lone.said()
    assert (said.start, said.began_in, said.began_with) == (5, HISTORY, at(1, 3))


# --- digests


def test_equal_positions_with_other_content_are_no_agreement() -> None:
    bench = Bench(3, tail=LOG[1:])
    assert bench.receive(append(1, at(1, 3), command(1, 4), digest=WRONG), member(2)) == []
    assert bench.engine.last == at(1, 3)
    assert bench.engine.status().differs
    assert EventKind.DIFFERS in [event.kind for effects in bench.effects for event in effects.events]


def test_who_differs_serves_no_strong_read_and_says_so_once() -> None:
    bench = Bench(3, tail=LOG[1:])
    for _ in range(3):
        bench.receive(append(1, at(1, 3), digest=WRONG), member(2))
    assert not bench.engine.read(1)
    assert only(bench.sent(), ReadIndex) == []
    events = [event.kind for effects in bench.effects for event in effects.events]
    assert events.count(EventKind.DIFFERS) == 1


@pytest.mark.parametrize("digest", [Log(LOG).digest_at(3), NO_DIGEST], ids=["the same", "none"])
def test_what_has_the_same_digest_or_says_nothing_agrees(digest: bytes) -> None:
    bench = Bench(3, tail=LOG[1:])
    (answer,) = only(bench.receive(append(1, at(1, 3), command(1, 4), digest=digest), member(2)), AppendEntriesResponse)
    assert (answer.matched, bench.engine.last) == (True, at(1, 4))
    assert not bench.engine.status().differs


words = st.lists(st.binary(min_size=1, max_size=2), min_size=1, max_size=8)


def holding(values: list[bytes]) -> Log:
    """A log with a command for each value."""
    entries: list[LogEntry] = [
        entry(1, index, Commands(session=1, first=index, settled=0, commands=(value,)))
        for index, value in enumerate(values, start=2)
    ]
    return Log((*log(VOTERS), *entries))


@given(words, words)
def test_digests_are_equal_only_if_all_before_is(one: list[bytes], other: list[bytes]) -> None:
    first, second = holding(one), holding(other)
    index = min(first.last.index, second.last.index)
    same = first.between(1, index) == second.between(1, index)
    assert (first.digest_at(index) == second.digest_at(index)) is same


@given(words, st.data())
def test_compaction_keeps_digests(values: list[bytes], data: st.DataObject) -> None:
    whole, compacted = holding(values), holding(values)
    index = data.draw(st.integers(1, whole.last.index))
    compacted.begin_behind(compacted.base_at(index))
    assert compacted.digest_at(index) == whole.digest_at(index)
    assert compacted.digest_at(compacted.last.index) == whole.digest_at(whole.last.index)
