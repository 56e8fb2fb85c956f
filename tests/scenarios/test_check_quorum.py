"""A leader must keep hearing from a quorum of voters."""

from __future__ import annotations

import pytest

from p2praft.raft.messages import AppendEntriesResponse, TimeoutNow
from p2praft.raft.types import Term, Vote
from tests.paper.cluster import Cluster
from tests.paper.support import holds
from tests.raft.support import HISTORY, Bench, at, standing


def test_a_leader_that_a_majority_answers_stays() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(4, 5)
    cluster.run(20)
    assert (cluster.leaders, cluster.engines[1].term) == ([1], 2)


def test_a_leader_that_only_a_minority_answers_steps_down_within_its_term() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(3, 4, 5)
    cluster.run(1.5)
    assert cluster.leaders == []
    assert cluster.engines[1].term == 2, "it does not campaign in vain"


def test_a_leader_that_stepped_down_can_be_elected_again() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.run(3)
    cluster.heal()
    cluster.run(4)
    assert len(cluster.leaders) == 1


def test_answers_of_members_that_do_not_vote_keep_no_leader() -> None:
    cluster = Cluster(5, voters=3, observers=(4, 5))
    cluster.elect(1)
    cluster.isolate(2, 3)
    cluster.run(1.5)
    assert cluster.leaders == []


@pytest.mark.parametrize("matched", [True, False], ids=["matched", "refused"])
def test_any_answer_says_that_a_voter_is_alive(matched: bool) -> None:
    bench = Bench(3, 2)
    bench.lead()
    for _ in range(10):
        bench.advance(0.5)
        answer = AppendEntriesResponse(
            term=bench.engine.term, vote=Vote.ABSTAINED, matched=matched, last=at(2, 2), round=0
        )
        bench.receive(answer, bench.voters[1])
    assert bench.engine.is_leader


def test_an_answer_keeps_the_leader_for_one_election_timeout() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.advance(0.5)
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    bench.advance(0.9)
    assert bench.engine.is_leader
    bench.advance(0.3)
    assert not bench.engine.is_leader


def test_a_new_leader_gets_a_whole_election_timeout_to_be_answered() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.now += 0.9
    bench.engine.tick(bench.now)
    assert bench.engine.is_leader


def test_a_newer_leader_supersedes_one_that_lost_its_majority() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(3)
    cluster.heal()
    cluster.run(1)
    assert cluster.leaders == [3]
    assert cluster.engines[1].leader == cluster.members[3]


def test_a_candidate_that_is_stuck_in_a_newer_term_is_freed() -> None:
    """It campaigned for real and was cut off: its term is ahead of the leader's, and it lacks an entry.

    Ours: its pre-votes carry that term to everybody; then whoever has the better log is elected beyond it.
    """
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.hear(3, TimeoutNow(term=Term(2)), sender=1)
    cluster.propose(1)
    cluster.deliver()
    assert (cluster.engines[3].term, cluster.leaders) == (3, [1])
    cluster.heal()
    cluster.run(6)
    [leader] = cluster.leaders
    assert leader in (1, 2), "it still lacked an entry that had been committed"
    assert {engine.term for engine in cluster.engines.values()} == {4}


def test_silence_is_no_proof_that_a_memory_is_gone() -> None:
    """Ours: a voter that is merely away counts in the majority."""
    bench = Bench(3, 2)
    bench.lead()
    for voter in bench.voters[1:]:
        bench.engine.bond_down(voter, bench.now)
    bench.advance(1.5)
    assert not bench.engine.is_leader


def test_a_standing_is_no_answer() -> None:
    """What a member says of itself is not heard as an answer to a heartbeat."""
    bench = Bench(3, 2)
    bench.lead()
    says = standing(bench.genesis, founded=True)
    for _ in range(3):
        bench.advance(0.5)
        bench.engine.receive(says, bench.voters[1], bench.now, history=HISTORY)
    assert not bench.engine.is_leader
