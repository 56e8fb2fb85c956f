"""How a group gets its first history: who writes the genesis, and when it is committed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2praft import LeadershipPreference
from p2praft.raft.entries import OpenSession
from p2praft.raft.histories.entries import Genesis
from p2praft.raft.histories.founder import Founder
from p2praft.raft.histories.messages import Standing
from p2praft.raft.histories.states import State, Wait
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, Message, PreVote
from p2praft.raft.types import START
from tests.raft.support import HISTORY, Bench, Lone, append, at, genesis, log, member, standing

OTHER = b"o" * 16


def writer(number: int = 1, others: Sequence[int] = (2, 3)) -> Lone:
    """An engine that has written its genesis, not yet committed."""
    lone = Lone(number)
    for other in others:
        lone.meet(member(other), standing())
    lone.wait(1.2)
    assert lone.state() is State.WRITING
    return lone


def founder(number: int = 2) -> tuple[Lone, Genesis]:
    """An engine that holds the uncommitted genesis which member 1 wrote for 1, 2 and 3."""
    entries = log([member(1), member(2), member(3)])
    first = entries[0].payload
    assert isinstance(first, Genesis)
    lone = Lone(number)
    lone.meet(member(1), standing(first))
    lone.meet(member(5 - number), standing())
    lone.hear(append(1, START, *entries), member(1), history=first.history)
    assert (lone.state(), lone.held()) == (State.OFFERED, first)
    return lone, first


def appends(lone: Lone, number: int) -> list[Message]:
    """What was ever replicated to a member."""
    return [out.message for out in lone.sent if out.to == member(number) and isinstance(out.message, AppendEntries)]


# --- who writes, and when


def test_the_lowest_of_expect_bonded_members_writes_and_names_all_as_founders() -> None:
    lone = writer()
    written = lone.held()
    assert written is not None
    assert (written.writer, written.founders) == (lone.first, (member(1), member(2), member(3)))
    assert isinstance(lone.engine.role, Founder)
    assert lone.engine.leader is None, "nothing is led before the history is founded"


def test_nobody_writes_before_the_bootstrap_delay() -> None:
    lone = Lone(1)
    for other in (2, 3):
        lone.meet(member(other), standing())
    lone.wait(0.9)
    assert lone.state() is State.NONE


def test_who_may_not_found_writes_nothing_until_it_may() -> None:
    lone = Lone(1)
    lone.engine.allow_founding(allowed=False, now=lone.now)
    for other in (2, 3):
        lone.meet(member(other), standing())
    lone.wait(60)
    assert lone.engine.status().waits == (Wait.SHELL, ())
    lone.engine.allow_founding(allowed=True, now=lone.now)
    lone.wait(0.1)
    assert lone.state() is State.WRITING


@pytest.mark.parametrize(("before", "reluctant"), [(1, False), (3, True)], ids=["lower PeerId", "not reluctant"])
def test_who_ranks_behind_defers_to_one_that_says_that_it_may_write_and_to_nobody_else(
    before: int, reluctant: bool
) -> None:
    preference = LeadershipPreference.reluctant(3) if reluctant else LeadershipPreference.NORMAL
    lone = Lone(2, preference=preference)
    lone.meet(member(4 - before), standing())
    lone.meet(member(before), standing(may_write=True))
    lone.wait(30)
    assert lone.state() is State.NONE
    assert lone.said().may_write, "others may leave it to us"
    lone.hear(standing(), member(before))
    assert lone.state() is State.WRITING, "it reaches too few, say, and will never write"


@pytest.mark.parametrize("third", [standing(factor=0.0), standing(leaving=True), standing(joins_only=True)])
def test_nobody_writes_below_expect_and_only_those_count_that_may_found(third: Standing) -> None:
    lone = Lone(1)
    lone.meet(member(2), standing())
    lone.meet(member(3), third)
    lone.wait(30)
    assert lone.engine.status().waits == (Wait.MEMBERS, ())


def test_an_observer_never_writes() -> None:
    lone = Lone(1, expect=1, preference=LeadershipPreference.OBSERVER)
    lone.wait(30)
    assert lone.state() is State.NONE


def test_nobody_writes_beside_a_founded_history() -> None:
    lone = Lone(1)
    for other in (2, 3):
        lone.meet(member(other), standing())
    lone.meet(member(4), standing(genesis([member(4)], history=OTHER), founded=True))
    lone.wait(30)
    assert lone.engine.status().waits == (Wait.HISTORY, ())


def test_who_sees_another_just_founding_gives_it_one_delay() -> None:
    lone = Lone(1)
    for other in (2, 3):
        lone.meet(member(other), standing())
    lone.wait(0.9)
    lone.meet(member(9), standing(genesis([member(9), member(8)], history=OTHER)))
    lone.wait(0.9)
    assert lone.state() is State.NONE
    lone.wait(0.2)
    assert lone.state() is State.WRITING


def test_the_genesis_leaves_only_once_its_writer_cannot_forget_it() -> None:
    lone = Lone(1)
    for other in (2, 3):
        lone.meet(member(other), standing())
    lone.wait(1.2, persist=False)
    assert lone.state() is State.WRITING
    assert appends(lone, 2) == []
    lone.engine.persisted(lone.writes[-1].serial, lone.now)
    lone.wait(0.2)
    assert appends(lone, 2)


# --- who commits, and when


def test_the_writer_commits_only_when_every_founder_holds_it() -> None:
    lone = writer()
    lone.hold(member(2))
    assert lone.engine.commit == 0, "a majority is not enough before there is a history"
    lone.hold(member(3))
    assert (lone.engine.commit, lone.state()) == (1, State.LIVING)
    assert lone.engine.is_leader


def test_nobody_hears_of_the_commit_before_the_writer_cannot_forget_it() -> None:
    lone = writer()
    lone.hold(member(2))
    messages = lone.hold(member(3), persist=False) + lone.wait(0.3, persist=False)
    assert lone.engine.commit == 0
    assert not [m for m in messages if isinstance(m, AppendEntries) and m.leader_commit]
    assert not [m for m in messages if isinstance(m, Standing) and m.founded]
    lone.engine.propose(1, OpenSession(nonce=bytes(16)))
    assert lone.engine.last.index == 1, "an entry that only the others keep would make them deny us for ever"


def test_who_is_no_founder_is_fed_only_once_the_genesis_is_committed() -> None:
    lone = writer()
    lone.meet(member(9), standing())
    lone.wait(1)
    assert appends(lone, 9) == []
    lone.hold(member(2))
    lone.hold(member(3))
    lone.wait(0.2)
    assert appends(lone, 9)


def test_who_is_no_founder_does_not_take_an_uncommitted_genesis() -> None:
    entries = log([member(1), member(2), member(3)])
    first = genesis([member(1), member(2), member(3)])
    lone = Lone(4)
    lone.meet(member(1), standing(first))
    lone.hear(append(1, START, *entries), member(1), history=HISTORY)
    assert lone.state() is State.NONE
    lone.hear(standing(first, founded=True), member(1))
    lone.hear(append(1, START, *entries, commit=1), member(1), history=HISTORY)
    assert (lone.state(), lone.engine.commit) == (State.LIVING, 1)


def test_a_founder_learns_from_anybody_that_its_genesis_is_founded() -> None:
    lone, first = founder()
    lone.engine.bond_down(member(1), lone.now)
    lone.hear(standing(first, founded=True), member(3))
    assert lone.state() is State.LIVING
    assert any(isinstance(message, PreVote) for message in lone.wait(2.0)), "it may lead now"


def test_nobody_campaigns_in_an_uncommitted_genesis() -> None:
    lone, _ = founder()
    assert not [message for message in lone.wait(2.5) if isinstance(message, PreVote)]
    assert lone.engine.commit == 0


def test_a_member_without_history_answers_a_leader_that_takes_it_to_have_the_beginning_under_way() -> None:
    """Seed 109491: its first entries were lost, and it never said so."""
    lone = Lone(9)
    lone.meet(member(1), standing(genesis([member(1)]), founded=True))
    messages = lone.hear(append(3, START, commit=5), member(1), history=HISTORY)
    (answer,) = [message for message in messages if isinstance(message, AppendEntriesResponse)]
    assert answer.last == START


def test_a_message_of_another_history_changes_nothing_in_ours() -> None:
    bench = Bench(3, 1)
    bench.receive(append(99, START, commit=1), member(2), history=OTHER)
    assert (bench.engine.term, bench.engine.last) == (1, at(1, 2))
