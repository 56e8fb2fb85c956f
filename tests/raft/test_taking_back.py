"""A genesis that is not founded: who takes it back, who drops it, and who waits."""

from __future__ import annotations

import pytest

from p2praft.raft.effects import HardState, Restored
from p2praft.raft.follower import Follower
from p2praft.raft.histories.messages import Standing
from p2praft.raft.histories.record import Record
from p2praft.raft.histories.states import State
from p2praft.raft.types import START, Member, Term
from tests.raft.support import HISTORY, Lone, append, at, command, founded, genesis, log, member, standing
from tests.raft.test_founding import OTHER, founder, writer

BACK = member(1, incarnation=1)
"""The writer, back without its memory."""


def written(*founders: Member) -> Restored:
    """What the writer's storage holds before the genesis is committed."""
    state = HardState(term=Term(1), vote=founders[0])
    return Restored(state=state, record=Record(history=HISTORY, attempt=1), entries=log(founders))


# --- the writer


def test_the_writer_takes_back_when_a_founder_is_lost_and_says_so_once_that_is_durable() -> None:
    lone = writer()
    lone.engine.bond_down(member(3), lone.now)
    early = lone.take(persist=False)
    assert lone.state() is State.NONE
    assert not [message for message in early if isinstance(message, Standing)]
    write = lone.writes[-1]
    assert write.clear
    lone.engine.persisted(write.serial, lone.now)
    lone.take()
    assert (lone.said().genesis, lone.said().attempt) == (None, 1)
    assert not lone.is_another, "it has promised nothing to anybody but the founders, who are told"


def test_the_next_attempt_has_the_next_number() -> None:
    lone = writer()
    lone.engine.bond_down(member(3), lone.now)
    lone.take()
    lone.meet(member(3), standing())
    lone.wait(1.5)
    again = lone.held()
    assert again is not None
    assert again.attempt == 2


def test_of_two_writers_the_one_that_ranks_behind_takes_back() -> None:
    first = writer(2, (3, 4))
    first.meet(member(1), standing(genesis([member(1), member(5), member(6)], history=OTHER)))
    assert first.state() is State.NONE
    second = writer()
    second.meet(member(4), standing(genesis([member(4), member(5), member(6)], history=OTHER)))
    assert second.state() is State.WRITING


def test_who_has_taken_back_does_not_write_beside_the_one_that_ranks_before_it() -> None:
    lone = writer(2, (3, 4))
    lone.meet(member(1), standing(genesis([member(1), member(5), member(6)], history=OTHER)))
    lone.wait(30)
    assert lone.state() is State.NONE


def test_the_writer_takes_back_when_it_meets_a_founded_history() -> None:
    lone = writer()
    lone.meet(member(9), standing(genesis([member(9)], history=OTHER), founded=True))
    assert lone.state() is State.NONE


def test_a_founded_history_is_never_taken_back() -> None:
    lone = writer()
    lone.hold(member(2))
    lone.hold(member(3))
    for other in (2, 3):
        lone.engine.bond_down(member(other), lone.now)
    lone.wait(2)
    assert lone.state() is State.LIVING


def test_a_sole_founder_that_crashed_before_its_commit_goes_on_where_it_was() -> None:
    lone = Lone(1, expect=1, restored=written(member(1)))
    assert (lone.history, lone.state()) == (HISTORY, State.LIVING)
    assert lone.engine.is_leader


def test_a_writer_that_restarts_before_the_commit_takes_back_for_its_founders_are_not_bonded() -> None:
    lone = Lone(1, restored=written(member(1), member(2), member(3)))
    lone.wait(5)
    assert lone.state() is State.NONE
    assert lone.engine.ctx.disk.record.attempt == 1, "the next is the second"


def test_a_writer_that_restarts_founded_is_an_ordinary_member() -> None:
    lone = Lone(1, restored=founded(log([member(1), member(2), member(3)])))
    assert isinstance(lone.engine.role, Follower)
    assert lone.state() is State.LIVING


# --- the other founders


def test_a_founder_drops_when_the_writer_shows_the_attempt_without_the_genesis() -> None:
    lone, _ = founder()
    lone.hear(standing(attempt=0), member(1))
    assert lone.state() is State.OFFERED, "an older word than the genesis itself says nothing"
    lone.hear(standing(attempt=1), member(1))
    assert lone.state() is State.NONE
    assert not lone.is_another, "the writer alone could have committed it"


def test_a_genesis_that_was_taken_back_is_not_taken_up_again_from_a_late_message() -> None:
    lone, first = founder()
    lone.hear(standing(attempt=1), member(1))
    lone.hear(append(1, START, *log(first.founders)), member(1), history=first.history)
    assert lone.state() is State.NONE


def test_a_genesis_is_void_once_its_writer_is_back_without_it_and_nobody_has_anything_behind_it() -> None:
    lone, first = founder()
    lone.hear(standing(first, attempt=0), member(3))
    lone.meet(BACK, standing())
    assert lone.state() is State.OFFERED, "the third may still hear of a commit from the writer"
    lone.hear(standing(first, attempt=0, over=(member(1),)), member(3))
    assert lone.state() is State.NONE


def test_a_genesis_is_not_void_for_one_that_holds_entries_behind_it() -> None:
    lone, first = founder()
    lone.hear(append(1, at(1, 1), command(1, 2)), member(1))
    lone.meet(BACK, standing())
    lone.hear(standing(first, attempt=0, over=(member(1),)), member(3))
    assert lone.history == first.history


@pytest.mark.parametrize("third", ["knows of the commit", "is not bonded"])
def test_a_genesis_is_not_void_if_somebody_may_have_more_of_it(third: str) -> None:
    lone, first = founder()
    if third == "is not bonded":
        lone.engine.bond_down(member(3), lone.now)
    else:
        lone.hear(standing(first, attempt=0, founded=True, over=(member(1),)), member(3))
    lone.meet(BACK, standing())
    assert lone.history == first.history


def test_a_founder_without_its_writer_gives_up_after_a_while_as_another_member() -> None:
    """It has acknowledged the genesis, and the writer may yet commit it: what it promised must not be promised anew."""
    lone, first = founder()
    lone.engine.bond_down(member(1), lone.now)
    lone.wait(2.5)
    assert lone.history == first.history
    lone.wait(1)
    assert lone.state() is State.NONE
    assert lone.is_another


def test_a_founder_does_not_leave_for_a_history_that_proves_nothing() -> None:
    lone, first = founder()
    lone.meet(member(9), standing(genesis([member(n) for n in range(4, 9)], history=OTHER), founded=True))
    lone.wait(1)
    assert lone.history == first.history
