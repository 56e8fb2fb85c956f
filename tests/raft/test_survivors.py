"""A voter most of whose fellows have lost their memory: when it may decide without them, and when it must not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from p2praft import LeadershipPreference
from p2praft.raft.candidate import GENERATION
from p2praft.raft.effects import HardState, Restored
from p2praft.raft.engine import Engine
from p2praft.raft.messages import Genesis, Index, Member, Standing, Term
from tests.raft.support import CONFIG, HISTORY, genesis, log, member

VOTERS = [member(number, volatile=True) for number in (1, 2, 3)]
BACK = [member(number, incarnation=1, volatile=True) for number in (1, 2)]
"""Voters 1 and 2 once they are back, without their memory."""


def standing(first: Genesis | None = None, *, voters_index: int = 0, heard_index: int = 0) -> Standing:
    return Standing(
        factor=1.0,
        genesis=first,
        founded=first is not None,
        attempt=0,
        gone=(),
        leaving=False,
        voters_index=Index(voters_index),
        heard_index=Index(heard_index),
    )


class Survivor:
    """Voter 3 of three, which has kept its memory; the voter set in its log is the founders'."""

    def __init__(self) -> None:
        self.now = 0.0
        self.engine = Engine(
            me=VOTERS[2],
            config=CONFIG,
            preference=LeadershipPreference.NORMAL,
            rng=random.Random(1),
            now=0.0,
            restored=Restored(state=HardState(term=Term(4), founded=True), entries=log(VOTERS, 4)),
        )

    def meet(self, members: Sequence[Member], says: Standing | None) -> None:
        for other in members:
            self.engine.bond_up(other, self.now)
            if says is not None:
                self.engine.receive(says, other, self.now, history=HISTORY)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            self.engine.tick(self.now)
            while (write := self.engine.take_effects().write) is not None:
                self.engine.persisted(write.serial, self.now)


def test_the_only_survivor_decides_once_the_others_are_back_and_have_said_what_they_are() -> None:
    survivor = Survivor()
    survivor.run(10)
    assert not survivor.engine.is_leader, "they may only be away"
    survivor.meet(BACK, standing())
    survivor.run(0.8 * CONFIG.bootstrap_delay)
    assert not survivor.engine.is_leader, "somebody may be about to tell more"
    survivor.run(3)
    assert survivor.engine.is_leader


def test_it_leads_a_term_that_none_of_the_gone_can_have_led() -> None:
    """They may have held elections after the survivor last heard of them, and have forgotten those too."""
    survivor = Survivor()
    survivor.meet(BACK, standing())
    survivor.run(5)
    assert survivor.engine.is_leader
    assert survivor.engine.term == GENERATION


@pytest.mark.parametrize(
    "says",
    [
        None,
        standing(genesis(VOTERS), voters_index=9),
        standing(heard_index=9),
        standing(genesis(VOTERS), voters_index=1, heard_index=9),
    ],
    ids=["nothing", "it holds newer voters", "it has met one that does", "it holds old ones, and has met one"],
)
def test_it_decides_nothing_while_the_voters_that_it_knows_may_be_old_ones(says: Standing | None) -> None:
    survivor = Survivor()
    survivor.meet(BACK[:1], standing())
    survivor.meet(BACK[1:], says)
    survivor.run(30)
    assert not survivor.engine.is_leader
    survivor.engine.receive(standing(), BACK[1], survivor.now, history=HISTORY)
    survivor.run(5)
    assert survivor.engine.is_leader, "whoever knew more has lost its memory too"


def test_another_groups_voters_are_no_newer_voters() -> None:
    survivor = Survivor()
    survivor.meet(BACK[:1], standing())
    survivor.meet(BACK[1:], standing(genesis(VOTERS, history=b"another history!", created=1.0), voters_index=9))
    survivor.run(5)
    assert survivor.engine.is_leader


def test_an_operators_word_needs_nobody_to_be_back() -> None:
    survivor = Survivor()
    survivor.engine.recover(VOTERS[:2], survivor.now)
    survivor.run(5)
    assert survivor.engine.is_leader


def test_a_member_says_how_new_the_voters_are_that_it_holds_and_has_heard_of() -> None:
    survivor = Survivor()
    survivor.engine.bond_up(BACK[0], 0.0)
    survivor.engine.receive(standing(genesis(VOTERS), voters_index=9), BACK[0], 0.0, history=HISTORY)
    said = [
        (outgoing.message.voters_index, outgoing.message.heard_index)
        for outgoing in survivor.engine.take_effects().messages
        if isinstance(outgoing.message, Standing)
    ]
    assert said == [(1, 9)]
