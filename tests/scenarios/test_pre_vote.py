"""Asking first. Ours carries the sender's present term, so no rule about terms has an exception (decision 2)."""

from __future__ import annotations

import pytest

from p2praft.raft.messages import PreVote, PreVoteResponse, RequestVote
from p2praft.raft.types import Term, Vote
from tests.paper.cluster import Cluster
from tests.raft.support import Bench, append, at, only, pre_vote

SUPPORT = PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True)


@pytest.mark.parametrize("role", ["follower", "pre-candidate", "candidate"])
def test_a_pre_vote_is_answered_in_any_role_and_saves_nothing(role: str) -> None:
    bench = Bench(3, 2)
    if role == "pre-candidate":
        bench.time_out()
    if role == "candidate":
        bench.campaign()
    before = bench.engine.ctx.state
    [answer] = only(bench.receive(pre_vote(bench.engine.term, at(8, 9)), bench.voters[2]), PreVoteResponse)
    assert (answer.term, answer.supports) == (bench.engine.term, True)
    assert bench.engine.ctx.state == before


def test_the_pre_vote_carries_the_present_term_and_the_campaign_the_next() -> None:
    """Ours, decision 2: elsewhere the pre-vote carries the next term already."""
    bench = Bench(3, 2)
    assert {m.term for m in only(bench.time_out(), PreVote)} == {2}
    assert {m.term for m in only(bench.receive(SUPPORT, bench.voters[1]), RequestVote)} == {3}


def test_a_pre_vote_of_a_newer_term_brings_that_term() -> None:
    """Ours, decision 2: its term is a term that exists, so the ordinary rule holds: step down, then answer."""
    bench = Bench(3, 2)
    bench.lead()
    [answer] = only(bench.receive(pre_vote(9, at(9, 9)), bench.voters[2]), PreVoteResponse)
    assert (bench.engine.role.name, bench.engine.term) == ("follower", 9)
    assert (answer.term, answer.supports) == (9, True)
    assert bench.engine.ctx.state.vote is None


def test_a_pre_vote_of_an_older_term_gets_no_answer_and_the_newer_term_spreads_all_the_same() -> None:
    """Ours, decision 2: the members of the newer term ask too, and that brings it to who lags."""
    cluster = Cluster(3)
    cluster.isolate(3)
    cluster.elect(1)
    cluster.crash(1)
    cluster.heal()
    cluster.campaign(3)
    assert cluster.engines[3].term == 1
    cluster.elect(2)
    assert cluster.engines[3].term == cluster.engines[2].term == 3


def test_of_two_that_ask_at_once_one_wins_without_a_split() -> None:
    """Ours: the higher PeerId, or whoever is behind, yields to the other and encourages it."""
    cluster = Cluster(3)
    cluster.elect(3)
    cluster.crash(3)
    for number in (1, 2):
        cluster.time_out(number)
    cluster.deliver()
    assert cluster.leaders == [1]
    assert cluster.engines[1].term == 3


def test_of_two_that_ask_at_once_the_better_log_wins() -> None:
    """Ours: here the higher PeerId has the better log."""
    cluster = Cluster({1: (2,), 2: (2, 2), 3: (2,)}, term=2)
    cluster.isolate(3)
    for number in (1, 2):
        cluster.time_out(number)
    cluster.deliver()
    assert cluster.leaders == [2]


def test_whoever_lags_denies_nothing_but_cannot_win() -> None:
    cluster = Cluster({1: (2, 2), 2: (2, 2), 3: (2,)}, term=2)
    cluster.campaign(3)
    assert cluster.leaders == []
    assert {engine.term for engine in cluster.engines.values()} == {2}
    cluster.elect(1)


def test_who_was_cut_off_for_long_comes_back_with_its_old_term() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(5)
    cluster.run(60)
    assert (cluster.engines[5].term, cluster.leaders) == (2, [1])
    cluster.heal()
    cluster.run(2)
    assert (cluster.leaders, {engine.term for engine in cluster.engines.values()}) == ([1], {2})


def test_a_follower_that_hears_the_leader_denies_the_one_that_does_not() -> None:
    """A broken link between two members only: the one that does not hear the leader must not depose it."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cuts.add(frozenset((1, 3)))
    cluster.run(20)
    assert cluster.leaders == [1]
    assert {engine.term for engine in cluster.engines.values()} == {2}


def test_voters_that_no_longer_hear_the_leader_replace_it_though_it_speaks_to_one() -> None:
    """It is heard by one of five and answered by one: neither is a majority."""
    cluster = Cluster(5)
    cluster.elect(1)
    for other in (3, 4, 5):
        cluster.cuts.add(frozenset((1, other)))
    cluster.run(5)
    [leader] = cluster.leaders
    assert leader != 1


def test_a_member_that_encouraged_another_may_still_encourage_a_third() -> None:
    """A pre-vote is not a vote: it is answered alike however many ask."""
    bench = Bench(4, 2)
    answers = [only(bench.receive(pre_vote(2, at(2, 2)), voter), PreVoteResponse)[0] for voter in bench.voters[1:]]
    assert [answer.supports for answer in answers] == [True, True, True]


def test_an_encouragement_counts_once() -> None:
    bench = Bench(5, 2)
    bench.time_out()
    for _ in range(4):
        bench.receive(SUPPORT, bench.voters[1])
    assert bench.candidate.pre


def test_an_encouragement_of_an_earlier_term_does_not_count() -> None:
    bench = Bench(3, 2)
    bench.time_out()
    bench.receive(append(5, at(2, 2)), bench.voters[1])
    bench.time_out()
    bench.receive(SUPPORT, bench.voters[1])
    assert (bench.candidate.pre, bench.engine.term) == (True, 5)


def test_a_denial_is_not_final() -> None:
    """Whoever heard the leader a moment ago denies; once it does not any more the next question is welcome."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.run(4)
    assert len([number for number in cluster.leaders if number != 1]) == 1


def test_a_broken_bond_to_the_leader_ends_its_protection_at_once() -> None:
    """Ours: who knows the leader's link to be broken neither waits for its own timer nor denies others."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(0.5)
    before = cluster.now
    cluster.crash(1)
    cluster.run(0.5)
    assert len(cluster.leaders) == 1
    assert cluster.now - before < 1.0, "less than the shortest election timeout"
