"""Thesis, section 3.10: leadership transfer."""

from __future__ import annotations

import pytest

from p2praft.raft.messages import AppendEntries, PreVote, RequestVote, TimeoutNow
from p2praft.raft.types import Term
from tests.paper.cluster import Cluster
from tests.paper.support import accepted, holds, lacks, propose, sent_to, win
from tests.raft.support import HISTORY, Bench, at, only, standing


def test_the_prior_leader_takes_no_more_requests() -> None:
    """Thesis 3.10, step 1: the prior leader stops accepting new client requests."""
    bench = Bench(3, 2)
    bench.lead()
    assert bench.engine.transfer_leadership(bench.voters[1], bench.now)
    propose(bench, 5)
    assert accepted(bench) == {5: 0}


def test_the_prior_leader_first_brings_the_target_up_to_date() -> None:
    """Thesis 3.10, step 2: the target's log must match the leader's before it is told to campaign."""
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1])
    target = bench.voters[2]
    assert bench.engine.transfer_leadership(target, bench.now)
    sent = [*bench.sent(), *bench.receive(lacks(bench, at(1, 1)), target)]
    assert only(sent, TimeoutNow) == []
    assert [m.last for m in sent_to(sent, target, AppendEntries)] == [bench.engine.last]
    sent = bench.receive(holds(bench, bench.engine.last), target)
    assert sent_to(sent, target, TimeoutNow) == [TimeoutNow(term=Term(3))]


def test_the_target_is_told_at_once_if_it_has_everything() -> None:
    """Thesis 3.10, step 3: the leader sends TimeoutNow to the target, and to nobody else."""
    bench = Bench(3, 2)
    bench.lead()
    assert bench.engine.transfer_leadership(bench.voters[2], bench.now)
    assert [(to, m) for to, m in bench.sent() if isinstance(m, TimeoutNow)] == [
        (bench.voters[2], TimeoutNow(term=Term(3)))
    ]


def test_the_target_campaigns_at_once_without_asking_first() -> None:
    """Thesis 3.10, step 3: as if its election timer had fired; no pre-vote, for that would be denied."""
    bench = Bench(3, 2)
    sent = bench.receive(TimeoutNow(term=Term(2)), bench.voters[1])
    assert only(sent, PreVote) == []
    assert [m.term for m in only(sent, RequestVote)] == [3, 3]


def test_leadership_moves_although_everybody_hears_the_prior_leader() -> None:
    """Thesis 3.10 with 4.2.3: the voters' lease on the leader must not stand in the way of a transfer."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.run(0.5)
    assert cluster.engines[1].transfer_leadership(cluster.members[4], cluster.now)
    cluster.perform(1)
    cluster.deliver()
    assert cluster.leaders == [4]
    assert {engine.leader for engine in cluster.engines.values()} == {cluster.members[4]}


def test_a_transfer_that_does_not_come_about_is_given_up() -> None:
    """Thesis 3.10: after about an election timeout the prior leader resumes accepting client requests."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    assert cluster.engines[1].transfer_leadership(cluster.members[3], cluster.now)
    cluster.run(0.9)
    assert cluster.leaders == [1]
    before = cluster.engines[1].last
    cluster.propose(1)
    assert cluster.engines[1].last == before
    cluster.run(0.3)
    cluster.propose(1)
    assert cluster.engines[1].last.index == before.index + 1


def test_a_transfer_to_nobody_in_particular_takes_the_voter_with_the_longest_log() -> None:
    """Thesis 3.10: the target is any server; ours takes the one that needs the least."""
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    assert bench.engine.transfer_leadership(None, bench.now)
    assert bench.leader.transfer_to == bench.voters[1]


@pytest.mark.parametrize("who", ["itself", "an observer", "a member without a bond", "one that leaves"])
def test_leadership_goes_to_no_one_who_cannot_lead(who: str) -> None:
    """Thesis 3.10: the target must be able to win an election."""
    bench = Bench(3, 2, observers=1)
    bench.lead()
    target = {"itself": bench.me, "an observer": bench.members[3]}.get(who, bench.voters[1])
    if who == "a member without a bond":
        bench.engine.bond_down(target, bench.now)
    if who == "one that leaves":
        says = standing(bench.genesis, founded=True, leaving=True)
        bench.engine.receive(says, target, bench.now, history=HISTORY)
    assert not bench.engine.transfer_leadership(target, bench.now)
    propose(bench, 5)
    assert accepted(bench) == {5: 4}, "nothing has changed"


def test_only_a_leader_can_hand_over() -> None:
    """Thesis 3.10: the prior leader begins it."""
    bench = Bench(3, 2)
    assert not bench.engine.transfer_leadership(bench.voters[1], bench.now)
