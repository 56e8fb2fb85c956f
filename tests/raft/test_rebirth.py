"""A dead history is born again from the most advanced log of those that hold it."""

from __future__ import annotations

from dataclasses import replace

from p2praft import LeadershipPreference
from p2praft.raft.effects import EventKind, HardState, Restored
from p2praft.raft.entries import LogEntry
from p2praft.raft.histories.entries import Branch, Genesis, Seal
from p2praft.raft.histories.messages import End, Ended, Held, Standing
from p2praft.raft.histories.record import Promise, Record
from p2praft.raft.histories.states import State, Wait
from p2praft.raft.log import Log
from p2praft.raft.messages import AppendEntries
from p2praft.raft.types import NO_DIGEST, Index, Member, Term
from tests.raft.support import (
    CONFIG,
    HISTORY,
    Lone,
    append,
    at,
    command,
    entry,
    founded,
    genesis,
    log,
    member,
    standing,
)

VOTERS = [member(1), member(2), member(3)]
OURS = genesis(VOTERS)
BACK = [member(1, incarnation=1), member(2, incarnation=1)]
"""Voters 1 and 2, back without their memory."""
LOG = (*log(VOTERS, first=OURS), command(1, 2))
BRANCH = Branch(history=HISTORY, at=at(1, 2), digest=Log(LOG).digest_at(2))


def holder(number: int = 3, *, tail: tuple[LogEntry, ...] = (), observes: bool = False, vote: bool = False) -> Lone:
    """A member that holds the history of three, with a command, and hears no leader."""
    preference = LeadershipPreference.OBSERVER if observes else LeadershipPreference.NORMAL
    restored = founded((*LOG, *tail), term=7 if vote else None, vote=member(1) if vote else None)
    return Lone(number, preference=preference, restored=restored)


def holds(index: int, *, term: int = 1, factor: float = 1.0) -> Standing:
    """What another holder says that has so many entries."""
    held = Held(last=at(1, index), digest=NO_DIGEST, term=Term(term), voters=tuple(VOTERS))
    return standing(OURS, founded=True, held=held, factor=factor)


def lose(lone: Lone, *back: Member) -> None:
    """These are back without their memory, and hold nothing."""
    for other in back:
        lone.meet(other, standing())


def child_of(lone: Lone) -> Genesis:
    """The genesis that it has written."""
    child = lone.held()
    assert child is not None
    assert child.history != HISTORY
    return child


# --- when


def test_a_voter_whose_fellows_have_forgotten_everything_goes_on_with_what_it_has() -> None:
    lone = holder()
    lose(lone, *BACK)
    assert lone.engine.status().waits == (Wait.REBIRTH, ())
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    child = child_of(lone)
    assert (child.founders, child.ancestors) == ((member(3),), (BRANCH,))
    assert lone.engine.is_leader
    assert not lone.is_another


def test_the_child_goes_on_behind_its_parents_log_in_a_higher_term() -> None:
    lone = holder()
    lose(lone, *BACK)
    lone.meet(member(4), holds(2, term=9, factor=0.0))
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    begins = lone.engine.ctx.log.between(3, 3)[0]
    assert begins.payload == child_of(lone)
    assert begins.term == 10, "above all that any holder has seen"
    committed = [each.index for effects in lone.effects for each in effects.committed]
    assert committed == [1, 2, 3, 4]
    assert not any(effects.reset for effects in lone.effects)


def test_while_a_majority_may_come_back_nothing_is_born() -> None:
    lone = holder()
    lose(lone, BACK[0])
    lone.wait(30)
    assert lone.state() is State.LIVING
    assert lone.history == HISTORY


def test_nothing_is_born_while_somebody_has_not_said_what_it_is_or_hears_a_leader() -> None:
    lone = holder()
    lose(lone, *BACK)
    lone.engine.bond_up(member(4), lone.now)
    lone.wait(5)
    assert lone.history == HISTORY
    lone.hear(standing(OURS, founded=True), member(4))
    lone.wait(5)
    assert lone.history == HISTORY
    lone.hear(holds(2), member(4))
    lone.wait(0.6)
    assert lone.state() is not State.LIVING


def test_each_holder_that_comes_is_given_a_delay_but_three_at_most() -> None:
    lone = holder()
    lose(lone, *BACK)
    for number in range(4, 20):
        lone.wait(0.4)
        lone.meet(member(number), holds(2))
        if lone.now < 3 * CONFIG.bootstrap_delay - 0.1:
            assert lone.history == HISTORY
    assert lone.history != HISTORY


def test_a_dead_history_without_a_command_is_left() -> None:
    lone = Lone(3, restored=founded(log(VOTERS)))
    lose(lone, *BACK)
    assert lone.state() is State.NONE
    assert lone.is_another


def test_who_sees_a_living_child_leaves_for_it_with_what_it_held() -> None:
    lone = holder()
    child = genesis([member(2, incarnation=1)], history=b"c" * 16, ancestors=[BRANCH])
    lose(lone, BACK[0])
    lone.meet(BACK[1], standing(child, founded=True))
    assert lone.is_another
    assert [archive.ended.into for write in lone.writes for archive in write.archives] == [child.history]


# --- who


def test_the_most_advanced_log_writes_an_observers_too_and_holders_that_may_vote_are_the_founders() -> None:
    lone = holder(4, tail=(command(1, 3),), observes=True)
    lose(lone, *BACK)
    lone.meet(member(3), holds(2))
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    child = child_of(lone)
    assert (child.writer, child.founders) == (member(4), (member(3),))
    assert (lone.state(), lone.engine.commit) == (State.WRITING, 0)
    lone.hold(member(3))
    assert (lone.state(), lone.engine.commit) == (State.LIVING, 4)


def test_the_childs_genesis_leaves_only_once_its_writer_cannot_forget_it() -> None:
    lone = holder()
    lose(lone, *BACK)
    lone.meet(member(4), holds(2))
    lone.wait(CONFIG.bootstrap_delay + 0.6, persist=False)
    assert child_of(lone).founders == (member(3), member(4))
    assert not [out for out in lone.sent if isinstance(out.message, AppendEntries)]
    lone.engine.persisted(lone.writes[-1].serial, lone.now)
    lone.wait(0.2)
    assert [out for out in lone.sent if isinstance(out.message, AppendEntries)]


def test_who_has_less_leaves_the_writing_to_the_most_advanced() -> None:
    lone = holder()
    lose(lone, *BACK)
    lone.meet(member(4), holds(3, factor=0.0))
    lone.wait(30)
    assert (lone.history, lone.said().attempt) == (HISTORY, OURS.attempt), "not even tried"


def test_of_equal_logs_the_first_that_may_vote_writes() -> None:
    lone = holder()
    lose(lone, *BACK)
    lone.meet(member(2, incarnation=2), holds(2, factor=0.0))
    lone.meet(member(4), holds(2))
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    assert child_of(lone).founders == (member(3), member(4))


def test_if_only_observers_hold_it_members_without_history_are_the_founders() -> None:
    lone = holder(4, observes=True)
    lose(lone, *BACK)
    lone.meet(member(3, incarnation=1), standing(joins_only=True))
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    assert child_of(lone).founders == (*BACK, member(3, incarnation=1)), "joins only: but this is nothing empty"


def test_the_writer_takes_back_if_somebody_turns_out_to_hold_more() -> None:
    lone = holder(4, observes=True)
    lose(lone, *BACK)
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    assert lone.state() is State.WRITING
    lone.meet(member(3), holds(3))
    assert (lone.state(), lone.history, lone.engine.last) == (State.LIVING, HISTORY, at(1, 2))


# --- founders


CHILD = genesis([member(4), member(3)], history=b"c" * 16, ancestors=[BRANCH])


def offered(*, vote: bool = False, first: Genesis = CHILD) -> Lone:
    """A voter that has seen its history die, and what the writer of a child sends it."""
    lone = holder(vote=vote)
    lose(lone, *BACK)
    lone.meet(member(4), standing(first))
    behind = first.ancestors[-1].at
    lone.hear(append(8, behind, entry(8, behind.index + 1, first)), member(4), history=first.history)
    return lone


def test_a_founder_goes_on_in_the_child_with_its_log() -> None:
    lone = offered()
    assert (lone.state(), lone.history, lone.engine.last) == (State.OFFERED, CHILD.history, at(8, 3))
    assert not lone.is_another


def test_a_founder_that_holds_more_than_the_child_begins_with_does_not() -> None:
    lone = offered(first=replace(CHILD, ancestors=(replace(BRANCH, at=at(1, 1)),)))
    assert lone.history == HISTORY


def test_once_the_child_is_founded_the_parent_is_over_and_remembered() -> None:
    lone = offered()
    lone.hear(append(8, at(8, 3), commit=3), member(4))
    assert lone.state() is State.LIVING
    record = lone.engine.ctx.disk.record
    assert record.parent is None
    assert [(end.branch, end.into, end.how) for end in record.ended] == [(BRANCH, CHILD.history, End.REBORN)]
    assert [archive.entries for write in lone.writes for archive in write.archives] == [LOG]


def test_if_the_child_is_taken_back_a_founder_returns_with_the_term_and_the_vote_of_the_parent() -> None:
    lone = offered(vote=True)
    lone.hear(standing(OURS, founded=True, attempt=1), member(4))
    assert (lone.state(), lone.history, lone.engine.last) == (State.LIVING, HISTORY, at(1, 2))
    assert lone.engine.ctx.state == HardState(term=Term(7), vote=member(1))
    assert not lone.is_another
    assert lone.writes[-1].replace_from == 3


def test_a_writer_that_restarts_before_the_commit_returns_to_the_parent_for_its_founders_are_not_bonded() -> None:
    parent = Promise(history=HISTORY, term=Term(7), vote=member(1), founded=True)
    record = Record(history=CHILD.history, attempt=1, parent=parent)
    state = HardState(term=Term(8), vote=member(4))
    lone = Lone(4, restored=Restored(state=state, record=record, entries=(*LOG, entry(8, 3, CHILD))))
    assert (lone.state(), lone.history, lone.engine.last) == (State.LIVING, HISTORY, at(1, 2))
    assert lone.engine.ctx.state == HardState(term=Term(7), vote=member(1))


# --- behind a seal


HEIR = genesis([member(number) for number in (11, 12, 13)], history=b"o" * 16)
SEALED = Ended(branch=replace(BRANCH, at=at(1, 3)), into=HEIR.history, how=End.SEALED, incarnation=bytes(8))


def sealed() -> Lone:
    """Voter 1, which knows of the seal, beside a second one that does."""
    lone = Lone(1, restored=founded((*LOG, entry(1, 3, Seal(into=HEIR.history, voters=HEIR.founders)))))
    lone.meet(member(2), replace(holds(3), seal=SEALED))
    lone.hear(append(1, at(1, 3), commit=3), member(2))
    assert lone.state() is State.SEALED
    lone.engine.bond_down(member(2), lone.now)
    lone.meet(member(2), replace(holds(3), seal=SEALED))
    return lone


def test_if_too_few_of_the_heirs_voters_are_left_a_majority_of_the_sealed_one_begins_anew_where_it_ended() -> None:
    lone = sealed()
    lose(lone, member(11, incarnation=1), member(12, incarnation=1))
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    child = child_of(lone)
    assert (child.founders, child.ancestors[-1].at) == ((member(1), member(2)), at(1, 3))


def test_if_the_heir_is_not_seen_for_three_delays_so_does_it_and_not_before() -> None:
    lone = sealed()
    lone.wait(3 * CONFIG.bootstrap_delay - 0.1)
    assert lone.state() is State.SEALED
    lone.wait(CONFIG.bootstrap_delay + 1)
    assert child_of(lone).ancestors[-1].at == at(1, 3)


def test_while_the_heir_is_seen_it_is_waited_for() -> None:
    lone = sealed()
    lone.meet(member(11), standing(HEIR, founded=True))
    lone.wait(30)
    assert lone.state() is State.SEALED


def test_too_few_of_the_sealed_one_begin_nothing() -> None:
    lone = sealed()
    lone.engine.bond_down(member(2), lone.now)
    lone.wait(30)
    assert lone.state() is State.SEALED


def test_who_finds_nobody_of_what_it_had_moved_into_takes_up_its_archive_as_another_member() -> None:
    record = Record(ended=(SEALED,))
    lone = Lone(3, restored=Restored(record=record))
    lone.wait(3 * CONFIG.bootstrap_delay + 0.6)
    assert [write.revive for write in lone.writes if write.revive] == [HISTORY]
    assert lone.is_another
    assert any(effects.restart for effects in lone.effects)
    kept = lone.writes[-1].record
    assert kept is not None
    assert (kept.history, kept.founded) == (HISTORY, True)


def test_a_reborn_history_says_so() -> None:
    lone = holder()
    lose(lone, *BACK)
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    kinds = [event.kind for effects in lone.effects for event in effects.events]
    assert kinds.index(EventKind.REBORN) < kinds.index(EventKind.FOUNDED)
    assert lone.engine.commit == Index(4)
