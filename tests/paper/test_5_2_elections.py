"""Section 5.2: heartbeats, randomised timeouts, one vote a term, split votes."""

from __future__ import annotations

import random

from p2praft.raft.engine import Engine
from p2praft.raft.messages import Message, RequestVote, RequestVoteResponse, TimeoutNow
from p2praft.raft.types import Vote
from tests.paper.cluster import Cluster
from tests.raft.support import CONFIG, Bench, append, at, member, only, request_vote


def test_heartbeats_keep_the_leader() -> None:
    """Section 5.2: a server remains a follower as long as it hears from a valid leader."""
    cluster = Cluster(3)
    cluster.elect(2)
    cluster.run(20)
    assert (cluster.leaders, cluster.engines[2].term) == ([2], 2)


def test_without_a_leader_one_is_elected() -> None:
    """Section 5.2: a follower that receives no communication for an election timeout begins an election."""
    cluster = Cluster(5)
    cluster.run(4)
    assert len(cluster.leaders) == 1


def test_a_new_leader_is_elected_when_the_old_one_dies() -> None:
    """Section 5.2: elections go on as leaders fail, as long as a majority is up."""
    cluster = Cluster(5)
    for dead in (1, 2):
        cluster.run(4)
        cluster.crash(cluster.leaders[0])
        assert len(cluster.engines) == 5 - dead
    cluster.run(4)
    assert len(cluster.leaders) == 1
    cluster.crash(cluster.leaders[0])
    cluster.run(10)
    assert cluster.leaders == []


def test_timeouts_are_spread_over_an_interval() -> None:
    """Section 5.2: election timeouts are chosen randomly from a fixed interval, to prevent split votes."""
    deadlines = {
        Engine(me=member(1), config=CONFIG, rng=random.Random(seed), now=0.0).role.deadline for seed in range(50)
    }
    assert len(deadlines) == 50
    assert all(1.0 <= deadline <= 1.5 for deadline in deadlines)
    assert max(deadlines) - min(deadlines) > 0.25


def test_a_follower_rolls_a_new_timeout_each_time() -> None:
    """Section 5.2: each restart of the timer draws again."""
    bench = Bench(3, 2)
    drawn = set()
    for _ in range(20):
        bench.receive(append(2, at(2, 2)), bench.voters[1])
        drawn.add(bench.follower.deadline)
    assert len(drawn) == 20
    assert all(1.0 <= deadline <= 1.5 for deadline in drawn)


def test_a_candidate_rolls_a_new_timeout_for_each_election() -> None:
    """Section 5.2: each candidate restarts its randomised election timeout at the start of an election."""
    bench = Bench(3, 2)
    waits = set()
    for _ in range(20):
        bench.campaign()
        waits.add(round(bench.candidate.deadline - bench.now, 9))
        bench.time_out()
    assert len(waits) == 20
    assert all(1.0 <= wait <= 1.5 for wait in waits)


def test_votes_are_given_to_who_asks_first() -> None:
    """Section 5.2: each server votes for at most one candidate in a term, first come first served."""
    bench = Bench(5, 2)
    votes = [
        answer.supports
        for voter in bench.voters[1:]
        for answer in only(bench.receive(request_vote(5, at(2, 2)), voter), RequestVoteResponse)
    ]
    assert votes == [True, False, False, False]


def test_an_election_needs_a_majority_of_all_voters() -> None:
    """Section 5.2: votes from a majority of the servers in the full cluster, not of those that can be reached."""
    cluster = Cluster(5)
    cluster.split(1, 2)
    cluster.campaign(1)
    assert cluster.leaders == []
    cluster.elect(3)


def test_a_candidate_recognises_the_leader_of_its_own_term() -> None:
    """Section 5.2: AppendEntries with a term at least as large as the candidate's: the leader is legitimate."""
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(append(bench.engine.term, at(2, 2)), bench.voters[1])
    assert (bench.engine.role.name, bench.engine.leader) == ("follower", bench.voters[1])


def test_a_candidate_goes_on_if_an_older_leader_speaks() -> None:
    """Section 5.2: a smaller term in the message: the candidate rejects it and continues."""
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    assert (bench.engine.role.name, bench.engine.leader) == ("candidate", None)


def test_a_split_vote_elects_nobody_and_the_next_term_somebody() -> None:
    """Section 5.2: if many followers become candidates at once each times out and starts a new election."""
    cluster = Cluster(3)
    for number, sender in ((1, 2), (2, 3), (3, 1)):
        cluster.hear(number, TimeoutNow(term=cluster.engines[number].term), sender)
    cluster.deliver()
    assert cluster.leaders == []
    assert {engine.role.name for engine in cluster.engines.values()} == {"candidate"}
    assert {engine.term for engine in cluster.engines.values()} == {2}
    cluster.run(4)
    [leader] = cluster.leaders
    assert cluster.engines[leader].term > 2


def test_a_candidate_that_asked_itself_counts_its_own_vote() -> None:
    """Section 5.2: it votes for itself; of three voters one more suffices, and a denial takes nothing away."""
    bench = Bench(3, 2)
    bench.campaign()
    denial = RequestVoteResponse(term=bench.engine.term, vote=Vote.DENIED, supports=False)
    bench.receive(denial, bench.voters[1])
    assert bench.engine.role.name == "candidate"
    bench.receive(
        RequestVoteResponse(term=bench.engine.term, vote=Vote.ABSTAINED, supports=True),
        bench.voters[2],
    )
    assert bench.engine.role.name == "leader"


def test_a_candidate_denies_its_vote_to_others_of_its_term() -> None:
    """Section 5.2: its own vote in that term is given away."""
    bench = Bench(3, 2)
    bench.campaign()
    [answer] = only(bench.receive(request_vote(bench.engine.term, at(9, 9)), bench.voters[1]), RequestVoteResponse)
    assert answer.vote is Vote.DENIED
    assert bench.engine.role.name == "candidate"


def test_requests_go_to_all_other_voters_in_parallel() -> None:
    """Section 5.2: it issues RequestVote RPCs in parallel to each of the other servers."""
    cluster = Cluster(5)
    asked: list[int] = []

    def lost(_sender: int, to: int, message: Message) -> bool:
        if isinstance(message, RequestVote):
            asked.append(to)
        return isinstance(message, RequestVote)

    cluster.lost = lost
    cluster.campaign(1)
    assert sorted(asked) == [2, 3, 4, 5]
