"""Leadership goes to another voter."""

from __future__ import annotations

from p2praft.raft.entries import Configuration
from p2praft.raft.messages import PreVote, TimeoutNow
from p2praft.raft.types import Term
from tests.paper.cluster import Cluster
from tests.paper.support import accepted, propose, sent_to
from tests.raft.support import Bench, append, at, entry, member, only, request_vote


def transfer(cluster: Cluster, leader: int, to: int) -> None:
    """Have the leader hand over, and see what comes of it."""
    assert cluster.engines[leader].transfer_leadership(cluster.members[to], cluster.now)
    cluster.perform(leader)
    cluster.deliver()


def test_leadership_goes_to_and_fro() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    for leader, to in ((1, 2), (2, 3), (3, 1)):
        transfer(cluster, leader, to)
        assert cluster.leaders == [to]
        cluster.propose(to)
        cluster.deliver()
    assert [cluster.terms(number) for number in (1, 2, 3)] == [[2, 3, 3, 4, 4, 5, 5]] * 3


def test_a_follower_cannot_take_leadership_away() -> None:
    """Ours: only the leader hands over."""
    cluster = Cluster(3)
    cluster.elect(1)
    assert not cluster.engines[2].transfer_leadership(cluster.members[2], cluster.now)
    cluster.run(1)
    assert cluster.leaders == [1]


def test_a_follower_that_was_cut_off_is_brought_up_to_date_and_then_leads() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    for _ in range(100):
        cluster.propose(1)
    cluster.deliver()
    cluster.heal()
    assert len(cluster.terms(3)) == 1
    transfer(cluster, 1, 3)
    cluster.run(0.3)
    assert cluster.leaders == [3]
    assert len(cluster.applied[3]) >= 102


def test_leadership_does_not_go_to_the_leader_itself_a_stranger_or_an_observer() -> None:
    cluster = Cluster(4, voters=3, observers=(4,))
    cluster.elect(1)
    for nobody in (cluster.members[1], cluster.members[4], member(77)):
        assert not cluster.engines[1].transfer_leadership(nobody, cluster.now)
    cluster.propose(1)
    cluster.deliver()
    assert cluster.engines[1].commit == 3, "the leader works on"


def test_a_leader_that_hands_over_in_vain_works_on_after_a_while() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.lost = lambda _sender, _to, message: isinstance(message, TimeoutNow)
    transfer(cluster, 1, 3)
    cluster.run(2)
    cluster.propose(1)
    cluster.deliver()
    assert (cluster.leaders, cluster.engines[1].commit) == ([1], 3)


def test_while_handing_over_nothing_new_is_taken() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.engine.transfer_leadership(bench.voters[1], bench.now)
    propose(bench, 9)
    assert accepted(bench) == {9: 0}
    assert bench.engine.last == at(3, 3)


def test_while_handing_over_heartbeats_and_commits_go_on() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    bench.engine.transfer_leadership(bench.voters[1], bench.now)
    assert len(bench.advance(0.3)) >= 4
    bench.acknowledge(bench.voters[2])
    assert bench.engine.commit == 4


def test_while_handing_over_the_voter_set_stays() -> None:
    """The target must not be removed, and the log must not grow."""
    bench = Bench(3, 2)
    spares = [member(8), member(9)]
    for spare in spares:
        bench.bond(spare)
    bench.lead()
    bench.acknowledge(*spares)
    bench.engine.transfer_leadership(bench.voters[1], bench.now)
    for _ in range(3):
        bench.advance(0.2)
        bench.acknowledge(*bench.voters[1:], *spares)
    assert bench.engine.voters == tuple(bench.voters)


def test_a_newer_term_ends_the_hand_over() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.engine.transfer_leadership(bench.voters[1], bench.now)
    bench.receive(request_vote(9, at(3, 3)), bench.voters[2])
    assert (bench.engine.role.name, bench.engine.term) == ("follower", 9)
    assert bench.engine.ctx.state.vote == bench.voters[2]


def test_another_target_takes_the_place_of_the_first() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    transfer(cluster, 1, 3)
    assert cluster.leaders == [1]
    transfer(cluster, 1, 2)
    assert [number for number in cluster.leaders if number != 1] == [2]


def test_the_target_may_be_told_twice() -> None:
    """Once for the request, once for its acknowledgement: the second finds it a candidate and is dropped."""
    bench = Bench(3, 2)
    bench.receive(TimeoutNow(term=bench.engine.term), bench.voters[1])
    term = bench.engine.term
    assert bench.receive(TimeoutNow(term=term), bench.voters[1]) == []
    assert bench.engine.term == term


def test_an_old_order_to_campaign_is_not_obeyed() -> None:
    bench = Bench(3, 2)
    bench.receive(append(5, at(2, 2)), bench.voters[1])
    bench.receive(TimeoutNow(term=Term(2)), bench.voters[2])
    assert (bench.engine.role.name, bench.engine.term) == ("follower", 5)


def test_a_member_that_does_not_vote_does_not_obey_an_order_to_campaign() -> None:
    bench = Bench(3, 2)
    others = Configuration(voters=tuple(bench.voters[1:]))
    bench.receive(append(2, at(2, 2), entry(2, 3, others), commit=3), bench.voters[1])
    assert bench.receive(TimeoutNow(term=bench.engine.term), bench.voters[1]) == []
    assert bench.engine.role.name == "follower"


def test_a_target_that_crashes_costs_one_election_timeout() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.lost = lambda _sender, _to, message: isinstance(message, TimeoutNow)
    transfer(cluster, 1, 3)
    cluster.crash(3)
    cluster.run(1.2)
    cluster.propose(1)
    cluster.deliver()
    assert (cluster.leaders, cluster.engines[1].commit) == ([1], 3)


def test_a_leader_that_hands_over_still_needs_a_quorum() -> None:
    """An order on its way keeps nobody in office."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.engines[1].transfer_leadership(cluster.members[2], cluster.now)
    cluster.perform(1)
    cluster.run(1.5)
    assert 1 not in cluster.leaders


def test_the_order_goes_once_everything_is_acknowledged_and_not_before() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    bench.engine.transfer_leadership(bench.voters[1], bench.now)
    assert sent_to([*bench.sent(), *bench.acknowledge(bench.voters[2])], bench.voters[1], TimeoutNow) == []
    sent = bench.acknowledge(bench.voters[1])
    assert len(sent_to(sent, bench.voters[1], TimeoutNow)) == 1
    assert only(sent, PreVote) == []
