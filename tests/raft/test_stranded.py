"""A member that can do nothing waits, says for whom, and does what an operator says."""

from __future__ import annotations

from dataclasses import replace

from p2praft.raft.effects import EventKind
from p2praft.raft.histories.messages import Standing
from p2praft.raft.histories.states import State, Wait
from tests.raft.support import CONFIG, HISTORY, Lone, command, founded, genesis, log, member, standing

VOTERS = [member(1), member(2), member(3)]
BACK = member(1, incarnation=1)
"""Voter 1, back without its memory."""


def stranded() -> Lone:
    """Voter 3 of three, with a command; 1 is back without its memory, and 2 has not been seen."""
    lone = Lone(3, restored=founded((*log(VOTERS), command(1, 2))))
    lone.meet(BACK, standing())
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    return lone


def events(lone: Lone, kind: EventKind) -> list[str]:
    """What was told of one kind."""
    return [event.text for effects in lone.effects for event in effects.events if event.kind is kind]


def test_a_stranded_member_waits_and_says_for_whom() -> None:
    lone = stranded()
    assert lone.engine.status().waits == (Wait.VOTERS, (member(2),))
    lone.wait(30)
    assert (lone.state(), lone.history) == (State.LIVING, HISTORY)


def test_it_tells_the_application_once_with_the_two_ways_out() -> None:
    lone = stranded()
    lone.wait(30)
    (text,) = events(lone, EventKind.STRANDED)
    assert str(member(2)) in text
    assert str(member(1)) not in text
    assert "recover" in text
    assert "abandon" in text


def test_recover_compares_members_and_works_while_a_wiped_machine_is_back() -> None:
    lone = stranded()
    lone.engine.recover([member(1), member(2)], lone.now)
    lone.take()
    assert not lone.engine.ctx.roster.is_over(BACK)
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    assert lone.engine.is_leader
    assert lone.history != HISTORY
    assert lone.engine.commit >= 3


def test_who_is_declared_lost_is_remembered_and_told_to_everybody() -> None:
    lone = stranded()
    lone.engine.recover([member(2)], lone.now)
    lone.take()
    assert lone.said().lost == (member(2),)
    assert [write.record.lost for write in lone.writes if write.record][-1:] == [(member(2),)]
    assert len(events(lone, EventKind.LOST)) == 1
    lone.engine.recover([member(2)], lone.now)
    lone.take()
    assert len(events(lone, EventKind.LOST)) == 1


def test_the_word_of_one_operator_reaches_all() -> None:
    lone = stranded()
    lone.meet(member(4), Standing(factor=0.0, lost=(member(2),)))
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    assert lone.engine.is_leader


def test_who_is_declared_lost_and_is_not_goes_on_as_another_member_with_its_log() -> None:
    """The others have gone on without it."""
    lone = stranded()
    lone.hear(Standing(factor=1.0, lost=(member(3),)), BACK)
    assert lone.is_another
    assert (lone.history, lone.engine.last.index) == (HISTORY, 2)


def test_what_was_declared_is_remembered_after_a_restart() -> None:
    lone = stranded()
    lone.engine.recover([member(2)], lone.now)
    lone.take()
    restored = founded((*log(VOTERS), command(1, 2)))
    remembers = replace(restored, record=lone.engine.ctx.disk.record)
    again = Lone(3, restored=remembers)
    again.meet(BACK, standing())
    again.wait(CONFIG.bootstrap_delay + 0.6)
    assert again.engine.is_leader


def test_a_voter_that_is_merely_away_is_enough_to_wait_for() -> None:
    """With a second holder there are two of three: no majority is over, and none is needed that is not there."""
    lone = Lone(3, restored=founded((*log(VOTERS), command(1, 2))))
    lone.meet(member(2), standing(genesis(VOTERS), founded=True))
    lone.wait(1)
    assert lone.engine.status().waits is None
