"""A history ends by its own quorum: the seal, what follows it in the log, and where its members go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from p2praft.raft.effects import Accepted, EventKind, Readable, Restored
from p2praft.raft.entries import Configuration, OpenSession
from p2praft.raft.histories.entries import NO_HISTORY, Absorb, Absorbed, Branch, Genesis, Seal
from p2praft.raft.histories.messages import AskLife, End, Ended, Standing
from p2praft.raft.histories.record import Record
from p2praft.raft.histories.states import State
from p2praft.raft.messages import AppendEntries, Propose, ProposeResponse
from p2praft.raft.types import START
from tests.raft.support import (
    CONFIG,
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
    payloads,
    standing,
)

HEIR = genesis([member(number) for number in range(11, 16)], history=b"o" * 16)
THIRD = genesis([member(number) for number in range(21, 26)], history=b"t" * 16)
SEAL = Seal(into=HEIR.history, voters=HEIR.founders)
VOTERS = [member(1), member(2), member(3)]
LOG = (*log(VOTERS), command(1, 2), entry(1, 3, SEAL))


def sealing() -> Bench:
    """The leader of a history with a command, whose seal is in its log and not committed."""
    bench = Bench(3, tail=[command(1, 2)])
    bench.lead()
    bench.leader.append(SEAL, bench.me.peer_id, bench.engine.ctx)
    bench.take()
    assert bench.engine.commit == bench.engine.last.index - 1
    return bench


def ended(first: Genesis, how: End, *, index: int, into: bytes = NO_HISTORY) -> Ended:
    """How a history of these founders ended, for a member in its first incarnation."""
    branch = Branch(history=first.history, at=at(1, index), digest=bytes(16))
    return Ended(branch=branch, into=into, how=how, incarnation=bytes(8))


def sealed(*before: Ended) -> Lone:
    """A member that knows of the seal, and is bonded with another that does.

    Args:
        before: Histories that it had left before.
    """
    held = founded(LOG)
    lone = Lone(2, restored=replace(held, record=replace(held.record, ended=before)))
    ours = genesis(VOTERS)
    lone.meet(member(1), standing(ours, founded=True, seal=ended(ours, End.SEALED, index=3, into=HEIR.history)))
    lone.hear(append(1, at(1, 3), commit=3), member(1))
    assert lone.state() is State.SEALED
    return lone


def feed(lone: Lone, first: Genesis, **says: Any) -> None:
    """Have the leader of a founded history say what it is, and send its log."""
    lone.meet(first.writer, standing(first, founded=True, **says))
    lone.hear(append(4, START, *log(first.founders, first=first), commit=1), first.writer, history=first.history)


# --- behind the seal


def test_a_leader_with_a_seal_in_its_log_takes_no_proposal_and_no_read() -> None:
    bench = sealing()
    bench.engine.propose(1, OpenSession(nonce=bytes(16)))
    bench.engine.read(2)
    (answered,) = only(
        bench.receive(Propose(request=3, payload=OpenSession(nonce=bytes(16))), member(2)), ProposeResponse
    )
    assert answered.index == 0
    answers = [answer for effects in bench.effects for answer in effects.answers]
    assert answers == [Accepted(request=1, index=answered.index), Readable(request=2, index=answered.index)]


def test_a_leader_with_a_seal_in_its_log_gives_no_proof_of_life() -> None:
    bench = sealing()
    bench.bond(member(21), THIRD)
    bench.receive(AskLife(asker=THIRD.history, of=HISTORY, nonce=bytes(16)), member(21))
    assert payloads(bench, Absorb) == []


def test_a_leader_with_a_seal_in_its_log_changes_no_voters() -> None:
    bench = sealing()
    bench.receive(standing(bench.genesis, founded=True, leaving=True), bench.voters[2])
    bench.beat(*bench.voters[1:], rounds=5)
    assert bench.engine.status().state is State.SEALED
    assert payloads(bench, Configuration) == []


def test_the_seal_counts_once_it_is_committed_and_everybody_is_told() -> None:
    bench = sealing()
    assert bench.engine.status().state is State.LIVING
    bench.acknowledge(bench.voters[1])
    assert bench.engine.status().state is State.SEALED
    told = [m.seal for _, m in bench.history() if isinstance(m, Standing)][-1]
    assert told is not None
    assert (told.into, told.how, told.branch.at) == (HEIR.history, End.SEALED, bench.engine.last)
    assert EventKind.SEALED in [event.kind for effects in bench.effects for event in effects.events]


def test_a_new_leader_commits_the_seal_that_it_inherits_with_a_no_op() -> None:
    bench = Bench(3, tail=LOG[1:])
    bench.campaign()
    assert bench.engine.status().state is State.LIVING
    bench.lead()
    assert bench.engine.status().state is State.SEALED
    assert bench.engine.commit == 4


def test_a_seal_that_is_lost_with_its_leader_has_not_happened() -> None:
    bench = sealing()
    before = bench.engine.last.index - 1
    other = entry(9, before + 1)
    bench.receive(append(9, bench.engine.ctx.log.cursor_at(before), other), bench.voters[1])
    assert bench.engine.last == other.cursor
    bench.advance(3)
    bench.lead()
    bench.engine.propose(5, OpenSession(nonce=bytes(16)))
    bench.take()
    assert Accepted(request=5, index=bench.engine.last.index) in bench.effects[-1].answers + bench.effects[-2].answers


# --- where members go


def test_a_sealed_member_moves_into_the_heir_that_feeds_it_and_stays_who_it_was() -> None:
    lone = sealed()
    feed(lone, HEIR)
    assert (lone.state(), lone.history) == (State.LIVING, HEIR.history)
    assert not lone.is_another
    (archive,) = [archive for write in lone.writes for archive in write.archives]
    assert archive.whole
    assert (archive.entries, archive.ended.how) == (LOG, End.SEALED)
    assert any(effects.reset and effects.end == archive for effects in lone.effects)


def test_a_sealed_member_moves_into_no_other_history() -> None:
    lone = sealed()
    feed(lone, THIRD)
    lone.wait(1)
    feed(lone, THIRD)
    assert (lone.state(), lone.history) == (State.SEALED, HISTORY)


@pytest.mark.parametrize("known", [HEIR.history, HISTORY], ids=["of the heir", "of ours"])
def test_a_sealed_member_moves_into_what_has_taken_over(known: bytes) -> None:
    lone = sealed()
    feed(lone, THIRD, known=(known,))
    assert (lone.state(), lone.history) == (State.LIVING, THIRD.history)


def test_a_member_that_is_not_sealed_takes_nothing_from_the_heir() -> None:
    lone = Lone(2, restored=founded(LOG))
    feed(lone, HEIR)
    assert (lone.state(), lone.history) == (State.LIVING, HISTORY)


def test_it_gives_others_of_its_history_a_while_to_hear_of_the_seal_from_it() -> None:
    lone = sealed()
    lone.meet(member(3), standing(genesis(VOTERS), founded=True))
    feed(lone, HEIR)
    assert lone.state() is State.SEALED
    lone.wait(CONFIG.bootstrap_delay)
    feed(lone, HEIR)
    assert lone.history == HEIR.history


def test_it_comes_back_to_a_history_that_it_had_left_as_another_member() -> None:
    """What it promised there is forgotten."""
    lone = sealed(ended(HEIR, End.LEFT, index=1))
    feed(lone, HEIR)
    assert lone.state() is State.NONE
    assert lone.is_another
    feed(lone, HEIR)
    assert (lone.state(), lone.history) == (State.LIVING, HEIR.history)


def test_who_remembers_a_seal_founds_no_empty_history() -> None:
    remembers = Record(ended=(ended(genesis(VOTERS), End.SEALED, index=3, into=HEIR.history),))
    lone = Lone(2, expect=1, restored=Restored(record=remembers))
    lone.meet(member(3), standing())
    lone.wait(2.5)
    assert lone.state() is State.NONE
    assert lone.said().joins_only


# --- the heir


def test_the_heirs_leader_writes_down_whom_it_has_taken_over_and_feeds_its_members() -> None:
    bench = Bench(3, 1)
    bench.lead()
    other = genesis([member(7)], history=b"e" * 16)
    end = ended(other, End.SEALED, index=5, into=HISTORY)
    bench.bond(member(7), other, seal=end, known=(b"a" * 16,))
    bench.advance(0.2)
    assert payloads(bench, Absorbed) == [Absorbed(branch=end.branch, also=(b"a" * 16,))]
    assert any(to == member(7) and isinstance(m, AppendEntries) for to, m in bench.history())


def test_a_member_that_hears_of_a_seal_into_its_history_has_its_leader_write_it_down() -> None:
    bench = Bench(3, 1)
    bench.receive(append(1, at(1, 2)), bench.voters[1])
    other = genesis([member(7)], history=b"e" * 16)
    end = ended(other, End.SEALED, index=5, into=HISTORY)
    bench.bond(member(7), other, seal=end)
    bench.advance(0.6)
    bench.receive(append(1, at(1, 2), round_number=2), bench.voters[1])
    asked = [m.payload for to, m in bench.advance(0.6) if to == bench.voters[1] and isinstance(m, Propose)]
    assert asked == [Absorbed(branch=end.branch)]
