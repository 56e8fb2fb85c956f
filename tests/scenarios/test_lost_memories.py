"""Ours: the quorum is min(majority, all voters that are not provably gone)."""

from __future__ import annotations

from p2praft.raft.messages import Standing
from tests.paper.cluster import Cluster


def cluster_of_three(*, volatile: bool = True) -> Cluster:
    """Three voters, led by 1, with one proposal committed everywhere."""
    cluster = Cluster(3, volatile=volatile)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    cluster.run(0.3)
    return cluster


def test_the_only_survivor_of_three_goes_on_with_all_that_was_committed() -> None:
    cluster = cluster_of_three()
    committed = list(cluster.applied[3])
    cluster.forget(1)
    cluster.forget(2)
    cluster.run(10)
    for number in (1, 2, 3):
        assert cluster.applied[number][: len(committed)] == committed


def test_the_newcomers_take_the_places_of_those_they_were() -> None:
    cluster = cluster_of_three()
    cluster.forget(1)
    cluster.forget(2)
    cluster.run(10)
    assert set(cluster.engines[3].voters) == set(cluster.members.values())


def test_while_a_majority_survives_a_majority_is_needed() -> None:
    """One of three is gone; the other two are both needed, and one alone elects nobody."""
    cluster = cluster_of_three()
    cluster.isolate(2)
    cluster.forget(1)
    cluster.run(10)
    assert cluster.leaders == []
    cluster.heal()
    cluster.run(5)
    assert len(cluster.leaders) == 1


def test_of_five_the_two_survivors_must_agree() -> None:
    cluster = Cluster(5, volatile=True)
    cluster.elect(1)
    cluster.run(0.3)
    for number in (1, 2, 3):
        cluster.crash(number)
    cluster.run(5)
    assert cluster.leaders == []
    for number in (1, 2, 3):
        cluster.restart(number)
        cluster.forget(number)
    cluster.cuts.add(frozenset((4, 5)))
    cluster.run(5)
    assert cluster.leaders == []
    cluster.cuts.discard(frozenset((4, 5)))
    cluster.run(5)
    assert len(cluster.leaders) == 1


def test_a_survivor_whose_voters_have_all_been_replaced_decides_nothing() -> None:
    """While 5 was away the others lost their memories one by one, and each was replaced: all that 5 knows are gone."""
    cluster = Cluster(5, volatile=True)
    cluster.elect(1)
    cluster.run(0.3)
    cluster.isolate(5)
    for number in (4, 3, 2, 1):
        cluster.forget(number)
        cluster.run(10)
    cluster.propose(cluster.leaders[0])
    cluster.run(1)
    committed = max(map(len, cluster.applied.values()))
    cluster.cuts.clear()
    cluster.lost = lambda sender, to, message: 5 in (sender, to) and not isinstance(message, Standing)
    cluster.run(10)
    assert not cluster.engines[5].is_leader
    cluster.heal()
    cluster.run(10)
    assert len(cluster.applied[5]) >= committed


def test_a_durable_voter_that_comes_back_with_another_memory_is_no_proof() -> None:
    """Its old disk may still be somewhere: without an operator's word a majority of the old voters is needed."""
    cluster = cluster_of_three(volatile=False)
    cluster.forget(1)
    cluster.forget(2)
    cluster.run(20)
    assert cluster.leaders == []


def test_an_operators_word_is_as_good_as_a_proof() -> None:
    cluster = cluster_of_three(volatile=False)
    lost = [cluster.members[1], cluster.members[2]]
    cluster.forget(1)
    cluster.forget(2)
    cluster.engines[3].recover(lost, cluster.now)
    cluster.perform(3)
    cluster.run(10)
    assert cluster.leaders == [3]
    assert len(cluster.applied[1]) == len(cluster.applied[3]) > 3


def test_a_member_with_a_new_memory_does_not_vote_in_the_place_of_the_old() -> None:
    """Else an entry that one old member and one leader held could be outvoted by a memory that lost it."""
    cluster = Cluster(3, volatile=True)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1)
    cluster.deliver()
    cluster.forget(2)
    cluster.isolate(1)
    cluster.cuts.discard(frozenset((2, 3)))
    cluster.run(5)
    assert cluster.leaders == []
    cluster.heal()
    cluster.run(5)
    assert len(cluster.applied[3]) >= 3
