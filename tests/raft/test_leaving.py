"""Who leaves a history without a seal: a member with nothing to lose, one told of the end, one whom an operator tells to."""

from __future__ import annotations

import pytest

from p2praft.raft.effects import Restored
from p2praft.raft.entries import LogEntry, OpenSession
from p2praft.raft.histories.entries import Absorb, Measure
from p2praft.raft.histories.messages import AskLife, End, LifeProof, Superseded
from p2praft.raft.histories.record import Record
from p2praft.raft.histories.states import State
from p2praft.raft.messages import Propose
from p2praft.raft.types import START
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

OTHER = b"o" * 16
FIVE = genesis([member(number) for number in range(11, 16)], history=OTHER)
ABOVE = Measure(quorum=3, durable=5, breadth=5, history=OTHER)
BELOW = Measure(quorum=1, durable=1, breadth=1, history=OTHER)
VOTERS = [member(1), member(2), member(3)]


def left_alone(*tail: LogEntry) -> Lone:
    """Voter 2 of three, of a history with this behind its genesis, that hears nobody of its own."""
    return Lone(2, restored=founded((*log(VOTERS), *tail)))


def meet_other(lone: Lone, *, measure: Measure = ABOVE) -> None:
    """Bond with a member of another history that says it is there."""
    lone.meet(member(11), standing(FIVE, founded=True, measure=measure))


def prove(lone: Lone) -> None:
    """The other history answers the newest question."""
    nonce = [out.message.nonce for out in lone.sent if isinstance(out.message, AskLife)][-1]
    proof = LifeProof(asker=HISTORY, of=OTHER, nonce=nonce, measure=ABOVE, voters=FIVE.founders)
    lone.hear(proof, member(11))


# --- nothing to lose


def test_a_member_with_nothing_to_lose_leaves_at_once_for_a_higher_history_that_has_proven_to_live() -> None:
    lone = left_alone()
    meet_other(lone)
    assert lone.state() is State.LIVING, "what a member says of its history proves nothing"
    prove(lone)
    assert lone.state() is State.NONE
    assert lone.is_another, "what it promised there is forgotten"
    lone.hear(append(4, START, *log(FIVE.founders, first=FIVE), commit=1), member(11), history=OTHER)
    assert (lone.state(), lone.history) == (State.LIVING, OTHER)


@pytest.mark.parametrize("tail", [command(1, 2), entry(1, 2, Absorb(history=OTHER, nonce=bytes(16)))])
def test_a_member_with_a_command_or_a_promise_in_its_log_leaves_for_nobody(tail: LogEntry) -> None:
    lone = left_alone(tail)
    meet_other(lone)
    lone.wait(30)
    assert not [out for out in lone.sent if isinstance(out.message, AskLife)]
    assert lone.state() is State.LIVING


def test_nobody_leaves_for_a_lower_history() -> None:
    lone = left_alone()
    meet_other(lone, measure=BELOW)
    lone.wait(1)
    assert not [out for out in lone.sent if isinstance(out.message, AskLife)]


def test_who_hears_its_leader_leaves_the_meeting_to_it() -> None:
    lone = left_alone()
    lone.meet(member(1), standing(genesis(VOTERS), founded=True))
    lone.hear(append(1, at(1, 1), commit=1), member(1))
    meet_other(lone)
    assert not [out for out in lone.sent if isinstance(out.message, AskLife)]


def test_without_a_majority_a_member_with_nothing_to_lose_leaves_for_none_after_three_delays() -> None:
    lone = left_alone()
    lone.wait(3 * CONFIG.bootstrap_delay - 0.2)
    assert lone.state() is State.LIVING
    lone.wait(0.8)
    assert lone.state() is State.NONE
    assert lone.is_another
    assert not any(write.archives for write in lone.writes)


def test_with_a_majority_around_it_waits_for_a_leader() -> None:
    lone = left_alone()
    lone.meet(member(3), standing(genesis(VOTERS), founded=True))
    lone.wait(30)
    assert lone.state() is State.LIVING


# --- becoming another


def test_nothing_leaves_before_the_new_incarnation_is_durable_and_the_shell_hears_of_it_then() -> None:
    lone = left_alone()
    meet_other(lone)
    before = len(lone.sent)
    nonce = [out.message.nonce for out in lone.sent if isinstance(out.message, AskLife)][-1]
    proof = LifeProof(asker=HISTORY, of=OTHER, nonce=nonce, measure=ABOVE, voters=FIVE.founders)
    lone.hear(proof, member(11), persist=False)
    lone.wait(0.3, persist=False)
    lone.hear(Propose(request=1, payload=OpenSession(nonce=bytes(16))), member(11), history=OTHER, persist=False)
    assert len(lone.sent) == before
    write = lone.writes[-1]
    assert (write.clear, write.incarnation) == (True, lone.engine.me.incarnation)
    assert not any(effects.renewed for effects in lone.effects)
    lone.engine.persisted(write.serial, lone.now)
    lone.take()
    assert [effects.renewed for effects in lone.effects if effects.renewed] == [lone.engine.me]
    assert lone.said().history == bytes(16)


def test_who_is_remembered_as_a_later_incarnation_begins_above_it() -> None:
    lone = Lone(2)
    later = bytes([0, 0, 0, 7, 1, 1, 1, 1])
    lone.meet(member(1), standing())
    lone.hear(Superseded(incarnation=later), member(1))
    assert lone.engine.me.incarnation > later
    now = lone.engine.me
    lone.hear(Superseded(incarnation=later), member(1))
    assert lone.engine.me == now, "that is what it has done already"


def test_nothing_lies_above_the_last_incarnation() -> None:
    lone = Lone(2)
    lone.meet(member(1), standing())
    lone.hear(Superseded(incarnation=b"\xff" * 8), member(1))
    assert not lone.is_another


def test_a_member_tells_one_that_it_remembers_as_a_later_incarnation() -> None:
    lone = Lone(2)
    lone.meet(member(1, incarnation=5), standing())
    lone.engine.bond_down(member(1, incarnation=5), lone.now)
    assert Superseded(incarnation=bytes([5]) * 8) in lone.meet(member(1), standing())


# --- told of the end


def test_who_is_told_of_its_seal_by_an_heir_keeps_its_log_and_leaves_once_it_has_waited_for_a_leader() -> None:
    lone = left_alone(command(1, 2))
    lone.meet(member(11), standing(FIVE, founded=True, known=(HISTORY,)))
    assert lone.state() is State.LIVING, "a leader of its own would feed it the seal"
    lone.wait(CONFIG.bootstrap_delay + 0.6)
    assert lone.state() is State.NONE
    assert lone.is_another
    (archive,) = [archive for write in lone.writes for archive in write.archives]
    assert (archive.ended.how, archive.ended.into, archive.whole) == (End.LEFT, OTHER, False)
    assert archive.entries == (*log(VOTERS), command(1, 2))


# --- an operator's word


def test_who_is_told_to_abandon_its_history_keeps_it_aside_and_joins_what_lives() -> None:
    lone = left_alone(command(1, 2))
    lone.engine.abandon(lone.now)
    lone.take()
    assert (lone.state(), lone.is_another) == (State.NONE, True)
    assert [archive.ended.how for write in lone.writes for archive in write.archives] == [End.LEFT]
    ended = lone.engine.ctx.disk.record.ended[-1]
    assert ended.branch.history == HISTORY
    meet_other(lone)
    lone.hear(append(4, START, *log(FIVE.founders, first=FIVE), commit=1), member(11), history=OTHER)
    assert lone.history == OTHER


def test_a_history_that_was_left_is_taken_up_again_only_as_another_member() -> None:
    """It would acknowledge and vote anew, and has forgotten how it did before."""
    lone = left_alone(command(1, 2))
    lone.engine.abandon(lone.now)
    lone.take()
    record = lone.engine.ctx.disk.record
    ours = genesis(VOTERS)

    def fed(it: Lone) -> bytes:
        it.meet(member(1), standing(ours, founded=True))
        it.hear(append(1, START, *log(VOTERS), commit=1), member(1), history=HISTORY)
        return it.history

    assert fed(Lone(2, restored=Restored(record=Record(ended=record.ended)))) == bytes(16)
    assert fed(lone) == HISTORY


def test_who_left_for_none_may_found() -> None:
    lone = left_alone()
    lone.wait(4)
    assert lone.state() is State.NONE
    for other in (1, 3):
        lone.meet(member(other, incarnation=1), standing())
    assert not lone.said().joins_only
    lone.wait(2)
    assert lone.state() is State.WRITING
