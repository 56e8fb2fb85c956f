"""A voter most of whose fellows have lost their memory: when it may decide without them, and when it must not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2praft.raft.candidate import GENERATION
from p2praft.raft.effects import HardState, Restored
from p2praft.raft.messages import Member, Standing, Term
from tests.raft.support import CONFIG, Lone, genesis, log, member, standing

VOTERS = [member(number, volatile=True) for number in (1, 2, 3)]
BACK = [member(number, incarnation=1, volatile=True) for number in (1, 2)]
"""Voters 1 and 2 once they are back, without their memory."""


def survivor() -> Lone:
    """Voter 3 of three, which has kept its memory; the voter set in its log is the founders'."""
    restored = Restored(state=HardState(term=Term(4), founded=True), entries=log(VOTERS, 4))
    return Lone(3, volatile=True, restored=restored)


def meet(it: Lone, members: Sequence[Member], says: Standing | None) -> None:
    """They are there, and say that of themselves, if anything."""
    for other in members:
        if says is not None:
            it.meet(other, says)
        else:
            it.engine.bond_up(other, it.now)


def test_the_only_survivor_decides_once_the_others_are_back_and_have_said_what_they_are() -> None:
    it = survivor()
    it.wait(10)
    assert not it.engine.is_leader, "they may only be away"
    meet(it, BACK, standing())
    it.wait(0.8 * CONFIG.bootstrap_delay)
    assert not it.engine.is_leader, "somebody may be about to tell more"
    it.wait(3)
    assert it.engine.is_leader


def test_it_leads_a_term_that_none_of_the_gone_can_have_led() -> None:
    """They may have held elections after the survivor last heard of them, and have forgotten those too."""
    it = survivor()
    meet(it, BACK, standing())
    it.wait(5)
    assert it.engine.is_leader
    assert it.engine.term == GENERATION


@pytest.mark.parametrize(
    "says",
    [
        None,
        standing(genesis(VOTERS), founded=True, voters_index=9),
        standing(heard_index=9),
        standing(genesis(VOTERS), founded=True, voters_index=1, heard_index=9),
    ],
    ids=["nothing", "it holds newer voters", "it has met one that does", "it holds old ones, and has met one"],
)
def test_it_decides_nothing_while_the_voters_that_it_knows_may_be_old_ones(says: Standing | None) -> None:
    it = survivor()
    meet(it, BACK[:1], standing())
    meet(it, BACK[1:], says)
    it.wait(30)
    assert not it.engine.is_leader
    it.hear(standing(), BACK[1])
    it.wait(5)
    assert it.engine.is_leader, "whoever knew more has lost its memory too"


def test_another_groups_voters_are_no_newer_voters() -> None:
    it = survivor()
    meet(it, BACK[:1], standing())
    meet(
        it, BACK[1:], standing(genesis(VOTERS, history=b"another history!", created=1.0), founded=True, voters_index=9)
    )
    it.wait(5)
    assert it.engine.is_leader


def test_an_operators_word_needs_nobody_to_be_back() -> None:
    it = survivor()
    it.engine.recover(VOTERS[:2], it.now)
    it.wait(5)
    assert it.engine.is_leader


def test_a_member_says_how_new_the_voters_are_that_it_holds_and_has_heard_of() -> None:
    it = survivor()
    answers = it.meet(BACK[0], standing(genesis(VOTERS), founded=True, voters_index=9))
    said = [(answer.voters_index, answer.heard_index) for answer in answers if isinstance(answer, Standing)]
    assert said == [(1, 9)]
