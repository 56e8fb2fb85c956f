"""Two histories meet: who asks whom for a proof of life, and what counts as one."""

from __future__ import annotations

from dataclasses import replace

from p2praft.raft.entries import Commands
from p2praft.raft.histories.entries import Absorb, Measure, Seal
from p2praft.raft.histories.meeting import PROOF_HOLDS
from p2praft.raft.histories.messages import AskLife, LifeProof, Met
from p2praft.raft.histories.states import Wait
from p2praft.raft.messages import RequestVoteResponse
from p2praft.raft.types import Index, Member, Vote
from tests.raft.support import CONFIG, HISTORY, Bench, append, at, genesis, member, only, payloads

OTHER = b"o" * 16
FIVE = genesis([member(number) for number in range(11, 16)], history=OTHER)
ABOVE = Measure(quorum=3, durable=5, breadth=5, history=OTHER)
BELOW = Measure(quorum=1, durable=1, breadth=1, history=OTHER)
STRANGER = member(11)
"""Of the other history."""
NONCE = b"n" * 16


def leader(*, measure: Measure = ABOVE, ask_operator: bool = False) -> Bench:
    """The leader of three without data, bonded with a member of a history that says it is at ``measure``."""
    bench = Bench(3, 1, ask_operator=ask_operator)
    bench.lead()
    bench.bond(STRANGER, FIVE, measure=measure)
    return bench


def asked(bench: Bench) -> list[AskLife]:
    """All that was asked of the stranger."""
    return [m for to, m in bench.history() if to == STRANGER and isinstance(m, AskLife)]


def proof(bench: Bench, *, nonce: bytes | None = None, measure: Measure = ABOVE) -> LifeProof:
    """What the other history's leader says, by default to the newest question."""
    nonce = nonce or asked(bench)[-1].nonce
    return LifeProof(asker=HISTORY, of=OTHER, nonce=nonce, measure=measure, voters=FIVE.founders)


def keep_leading(bench: Bench, seconds: float) -> None:
    """Let time pass while the voters answer."""
    for _ in range(round(seconds / 0.15)):
        bench.advance(0.15)
        bench.acknowledge(*bench.voters[1:])
    assert bench.engine.is_leader


# --- the lower one asks


def test_the_leader_of_the_lower_history_asks_and_what_a_member_says_of_its_history_proves_nothing() -> None:
    bench = leader()
    assert [(ask.asker, ask.of) for ask in asked(bench)] == [(HISTORY, OTHER)]
    keep_leading(bench, 10)
    assert payloads(bench, Seal) == []


def test_with_a_proof_it_seals_into_the_other_history_and_names_its_voters() -> None:
    bench = leader()
    bench.receive(proof(bench), STRANGER)
    assert payloads(bench, Seal) == [Seal(into=OTHER, voters=FIVE.founders)]


def test_the_leader_of_the_higher_history_does_not_ask() -> None:
    bench = leader(measure=BELOW)
    keep_leading(bench, 5)
    assert asked(bench) == []


def test_a_proof_that_nobody_asked_for_counts_for_nothing() -> None:
    bench = leader()
    bench.receive(proof(bench, nonce=NONCE), STRANGER)
    bench.receive(replace(proof(bench), of=b"p" * 16), STRANGER)
    bench.receive(replace(proof(bench), asker=b"p" * 16), STRANGER)
    keep_leading(bench, 1)
    assert payloads(bench, Seal) == []


def test_a_proof_holds_from_the_question_on_and_comes_too_late_behind_that() -> None:
    bench = leader()
    late = proof(bench)
    keep_leading(bench, PROOF_HOLDS * CONFIG.election_timeout + 0.5)
    bench.receive(late, STRANGER)
    keep_leading(bench, 1)
    assert payloads(bench, Seal) == []
    assert len(asked(bench)) == 2, "it asks again"


def test_a_proof_does_not_wait_for_the_operator_for_ever() -> None:
    bench = leader(ask_operator=True)
    bench.receive(proof(bench), STRANGER)
    assert bench.engine.status().waits == (Wait.OPERATOR, ())
    keep_leading(bench, PROOF_HOLDS * CONFIG.election_timeout + 0.5)
    bench.engine.allow_merge(bench.now)
    bench.take()
    assert payloads(bench, Seal) == [], "the other may have died meanwhile"
    bench.receive(proof(bench), STRANGER)
    assert len(payloads(bench, Seal)) == 1


def test_a_leader_counts_its_own_whole_log_committed_or_not() -> None:
    """What is not committed now may be soon: the one below must not have acknowledged anything above."""
    bench = leader()
    bench.engine.propose(1, Commands(session=1, first=1, settled=0, commands=(b"x",)))
    bench.take()
    assert bench.engine.commit < bench.engine.last.index
    bench.receive(proof(bench), STRANGER)
    assert payloads(bench, Seal) == []


def test_a_leader_counts_the_other_history_by_its_proof() -> None:
    bench = leader()
    bench.receive(proof(bench, measure=BELOW), STRANGER)
    assert payloads(bench, Seal) == []


def test_a_leader_that_has_not_committed_in_its_term_seals_nothing() -> None:
    """Its predecessor may have left entries that put its history above the other."""
    bench = leader()
    early = proof(bench)
    bench.leader.term_start = Index(bench.engine.commit + 1)
    bench.receive(early, STRANGER)
    assert payloads(bench, Seal) == []


# --- the higher one promises


def ask(bench: Bench, sender: Member = STRANGER, nonce: bytes = NONCE) -> list[LifeProof]:
    """Have a member of the other history ask; what is answered at once."""
    return only(bench.receive(AskLife(asker=OTHER, of=HISTORY, nonce=nonce), sender), LifeProof)


def test_the_proof_is_a_promise_that_is_committed_and_told_only_then() -> None:
    bench = leader(measure=BELOW)
    assert ask(bench) == []
    assert payloads(bench, Absorb) == [Absorb(history=OTHER, nonce=NONCE)]
    (told,) = {m for to, m in bench.acknowledge(bench.voters[1]) if isinstance(m, LifeProof)}
    assert (told.asker, told.of, told.nonce, told.voters) == (OTHER, HISTORY, NONCE, tuple(bench.voters))
    assert told.measure == Measure(quorum=3, durable=3, breadth=3, history=HISTORY)


def test_a_question_that_comes_by_two_ways_is_promised_once() -> None:
    bench = leader(measure=BELOW)
    ask(bench)
    ask(bench, bench.voters[1])
    assert len(payloads(bench, Absorb)) == 1


def test_a_leader_that_does_not_know_what_its_predecessors_left_promises_nothing() -> None:
    bench = Bench(3, 1)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=bench.engine.term, vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert bench.engine.is_leader
    bench.bond(STRANGER, FIVE, measure=BELOW)
    ask(bench)
    assert payloads(bench, Absorb) == []


def test_a_leader_that_loses_its_place_before_the_commit_tells_nothing() -> None:
    bench = leader(measure=BELOW)
    ask(bench)
    bench.receive(append(9, at(1, 2)), bench.voters[1])
    assert not only(bench.receive(append(9, bench.engine.last, commit=9), bench.voters[1]), LifeProof)


# --- members hand on


def follower() -> Bench:
    """Follows member 2, and is bonded with the stranger."""
    bench = Bench(3, 1)
    bench.receive(append(1, at(1, 2)), bench.voters[1])
    bench.bond(STRANGER, FIVE, measure=ABOVE)
    return bench


def test_a_member_tells_its_leader_of_another_history() -> None:
    bench = follower()
    bench.advance(0.8)
    bench.receive(append(1, at(1, 2), round_number=2), bench.voters[1])
    assert (bench.voters[1], Met(measure=ABOVE)) in bench.advance(0.8)


def test_a_member_hands_a_question_on_to_its_leader() -> None:
    question = AskLife(asker=OTHER, of=HISTORY, nonce=NONCE)
    assert follower().receive(question, STRANGER) == [(member(2), question)]


def test_a_member_hands_its_leaders_question_on_to_the_other_history_and_the_proof_back() -> None:
    bench = follower()
    question = AskLife(asker=HISTORY, of=OTHER, nonce=NONCE)
    assert bench.receive(question, bench.voters[1]) == [(STRANGER, question)]
    answer = proof(bench, nonce=NONCE)
    assert bench.receive(answer, STRANGER) == [(bench.voters[1], answer)]


def test_a_leader_that_is_bonded_with_nobody_of_the_other_history_asks_by_its_members() -> None:
    bench = Bench(3, 1)
    bench.lead()
    sent = bench.receive(Met(measure=ABOVE), bench.voters[1]) + bench.advance(0.2)
    assert {to for to, m in sent if isinstance(m, AskLife)} == set(bench.voters[1:])
