"""Thesis, section 9.6: pre-vote. Ours carries the sender's present term, not the one it would campaign in."""

from __future__ import annotations

import pytest

from p2praft.raft.messages import PreVote, PreVoteResponse, RequestVote
from p2praft.raft.types import Cursor, Term, Vote
from tests.paper.cluster import Cluster
from tests.raft.support import Bench, append, at, only, pre_vote


def answer(bench: Bench, last: Cursor) -> PreVoteResponse:
    """The one answer to a pre-vote."""
    [response] = only(bench.receive(pre_vote(bench.engine.term, last), bench.voters[1]), PreVoteResponse)
    return response


def test_a_candidate_asks_before_it_raises_its_term() -> None:
    """Thesis 9.6: it increments its term only once it has learnt that a majority would vote for it."""
    bench = Bench(5, 2)
    sent = bench.time_out()
    assert only(sent, PreVote) == [PreVote(term=Term(2), last=at(2, 2))] * 4
    grant = PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True)
    assert only(bench.receive(grant, bench.voters[1]), RequestVote) == []
    assert bench.engine.term == 2
    assert [m.term for m in only(bench.receive(grant, bench.voters[2]), RequestVote)] == [3] * 4
    assert bench.engine.term == 3


@pytest.mark.parametrize(
    ("last", "supported"), [(at(2, 3), True), (at(2, 4), True), (at(2, 2), False)], ids=["equal", "better", "worse"]
)
def test_who_would_not_vote_for_a_log_does_not_encourage_it(last: Cursor, supported: bool) -> None:
    """Thesis 9.6: willing only if the candidate's log is sufficiently up-to-date."""
    assert answer(Bench(3, 2, 2), last).supports is supported


def test_who_hears_a_leader_encourages_nobody() -> None:
    """Thesis 9.6: willing only if no heartbeat of a valid leader came for at least a baseline election timeout."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2)), bench.voters[2])
    bench.now += 0.99
    assert not answer(bench, at(2, 2)).supports
    bench.now += 0.02
    assert answer(bench, at(2, 2)).supports


def test_a_leader_encourages_nobody() -> None:
    """Thesis 9.6 with 4.2.3: a leader knows of a valid leader: itself."""
    bench = Bench(3, 2)
    bench.lead()
    assert not answer(bench, at(9, 9)).supports


def test_asking_changes_nothing_durable_on_either_side() -> None:
    """Thesis 9.6: a pre-vote is no vote, and no term."""
    bench = Bench(3, 2)
    before = bench.engine.ctx.state
    for _ in range(3):
        assert answer(bench, at(2, 2)).supports
    bench.time_out()
    bench.time_out()
    assert bench.engine.ctx.state == before
    assert all(effects.write is None for effects in bench.effects)


def test_a_member_that_was_cut_off_comes_back_without_disturbing() -> None:
    """Thesis 9.6: a partitioned server cannot raise its term, so its return deposes nobody."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.run(30)
    assert cluster.engines[3].role.name == "candidate"
    assert cluster.engines[3].term == 2
    cluster.heal()
    cluster.run(1)
    assert (cluster.leaders, cluster.engines[1].term) == ([1], 2)
    assert cluster.engines[3].leader == cluster.members[1]


def test_a_member_that_was_cut_off_with_a_stale_leader_finds_the_new_one() -> None:
    """Thesis 9.6 and decision 2: a pre-vote of an older term is not answered; who asked hears the newer one otherwise."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2)
    cluster.run(2)
    assert (cluster.engines[1].role.name, cluster.engines[1].term) == ("candidate", 2)
    cluster.heal()
    cluster.run(0.5)
    assert {engine.leader for engine in cluster.engines.values()} == {cluster.members[2]}
    assert {engine.term for engine in cluster.engines.values()} == {3}


def test_without_a_leader_pre_votes_lead_to_one() -> None:
    """Thesis 9.6: the extra phase does not keep a cluster from electing."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.crash(1)
    cluster.run(3)
    assert len(cluster.leaders) == 1
