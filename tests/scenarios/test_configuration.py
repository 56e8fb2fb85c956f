"""The voter set as the steward changes it: one member at a time, never without a live majority."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2praft.raft.entries import Configuration, LogEntry
from p2praft.raft.messages import RequestVote
from p2praft.raft.types import Member
from tests.paper.cluster import Cluster
from tests.paper.support import holds, propose, win
from tests.raft.support import CONFIG, HISTORY, Bench, append, at, entry, member, standing


def change(bench: Bench, *voters: Member) -> None:
    """Have the leader append a voter set."""
    bench.leader.append(Configuration(voters=voters), bench.me.peer_id, bench.engine.ctx)
    bench.take()


def say(bench: Bench, who: Member, *, factor: float = 1.0, leaving: bool = False) -> None:
    """Have a member tell what it is."""
    says = standing(bench.genesis, founded=True, factor=factor, leaving=leaving)
    bench.engine.receive(says, who, bench.now, history=HISTORY)


def changes(cluster: Cluster, number: int) -> list[LogEntry]:
    """The changes of the voter set in one member's log."""
    held = cluster.engines[number].ctx.log
    return [each for each in held.between(1, held.last.index) if isinstance(each.payload, Configuration)]


def test_a_group_of_one_grows_to_the_most_that_it_may() -> None:
    cluster = Cluster(7, voters=1)
    cluster.elect(1)
    cluster.run(5)
    assert {tuple(cluster.voters(number)) for number in range(1, 8)} == {(1, 2, 3, 4, 5)}


def test_a_fourth_member_stands_by() -> None:
    """Ours: four voters tolerate no more failures than three."""
    cluster = Cluster(4, voters=3)
    cluster.elect(1)
    cluster.run(5)
    assert changes(cluster, 1) == []


def test_the_one_that_stands_by_replaces_a_voter_that_dies() -> None:
    cluster = Cluster(4, voters=3)
    cluster.elect(1)
    cluster.crash(3)
    cluster.run(19)
    assert cluster.voters(1) == [1, 2, 3], "it may come back"
    cluster.run(5)
    assert cluster.voters(1) == [1, 2, 4]


def test_a_dead_voter_stays_if_nobody_can_take_its_place() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(3)
    cluster.run(60)
    assert cluster.voters(1) == [1, 2, 3]


def test_a_voter_that_leaves_is_removed() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.engines[2].leave()
    cluster.tell(1, of=2)
    cluster.deliver()
    cluster.run(2)
    assert cluster.voters(1) == cluster.voters(3) == [1, 3]


def test_a_voter_that_turns_observer_is_removed() -> None:
    bench = Bench(3, 2)
    bench.lead()
    say(bench, bench.voters[2], factor=0.0)
    bench.beat(bench.voters[1])
    assert bench.engine.voters == tuple(bench.voters[:2])


def test_nobody_is_removed_if_the_rest_has_no_live_majority() -> None:
    """Two of three are needed already: without the one that leaves both would be, and one of them is silent."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(3)
    cluster.engines[2].leave()
    cluster.tell(1, of=2)
    cluster.deliver()
    cluster.run(5)
    assert cluster.voters(1) == [1, 2, 3]
    cluster.restart(3)
    cluster.run(2)
    assert cluster.voters(1) == [1, 3]


def test_an_added_voter_counts_at_once() -> None:
    bench = Bench(1, 2)
    bench.bond(member(9))
    bench.time_out()
    change(bench, bench.me, member(9))
    commit = bench.engine.commit
    propose(bench)
    assert bench.engine.commit == commit
    bench.acknowledge(member(9))
    assert bench.engine.commit == bench.engine.last.index


def test_removing_a_voter_commits_what_only_waited_for_it() -> None:
    """Of two voters one is removed: what the other holds is then held by all."""
    bench = Bench(2, 2)
    bench.lead()
    propose(bench)
    propose(bench)
    assert bench.engine.commit == 3
    change(bench, bench.me)
    assert bench.engine.commit == bench.engine.last.index == 6


def test_a_removed_voter_neither_commits_nor_confirms_nor_keeps_the_leader() -> None:
    bench = Bench(3, 2)
    bench.lead()
    change(bench, *bench.voters[:2])
    bench.receive(holds(bench, bench.engine.last), bench.voters[2])
    assert bench.engine.commit == 3
    for _ in range(3):
        bench.advance(0.4)
        bench.receive(holds(bench, bench.engine.last, round_number=99), bench.voters[2])
    assert bench.engine.role.name == "follower"


def test_a_leader_that_is_removed_leads_until_the_removal_is_committed() -> None:
    bench = Bench(3, 2)
    bench.lead()
    change(bench, *bench.voters[1:])
    propose(bench)
    assert bench.engine.is_leader
    bench.acknowledge(*bench.voters[1:])
    assert (bench.engine.role.name, bench.engine.commit) == ("follower", 5)


def test_a_leader_that_was_removed_does_not_campaign_again() -> None:
    bench = Bench(3, 2)
    bench.lead()
    change(bench, *bench.voters[1:])
    bench.acknowledge(*bench.voters[1:])
    term = bench.engine.term
    bench.advance(10)
    assert (bench.engine.role.name, bench.engine.term) == ("follower", term)


def test_a_leader_without_vote_needs_a_majority_of_the_others_to_stay() -> None:
    bench = Bench(3, 2)
    bench.lead()
    change(bench, *bench.voters[1:])
    for _ in range(3):
        bench.advance(0.5)
        bench.receive(holds(bench, at(3, 3)), bench.voters[1])
    assert bench.engine.role.name == "follower"


def test_a_change_that_its_leader_did_not_commit_is_taken_back_by_the_next() -> None:
    cluster = Cluster(5, voters=3)
    cluster.isolate(5)
    cluster.elect(1)
    cluster.lost = lambda sender, to, message: (
        sender == 1 and any(isinstance(each.payload, Configuration) for each in getattr(message, "entries", ()))
    )
    cluster.engines[3].leave()
    cluster.tell(1, of=3)
    cluster.deliver()
    cluster.run(0.3)
    assert cluster.voters(1) == [1, 2, 3, 4], "4 comes before 3 goes"
    assert cluster.voters(2) == [1, 2, 3]
    cluster.isolate(1)
    cluster.elect(2)
    cluster.heal()
    cluster.run(0.05)
    assert cluster.voters(1) == cluster.voters(2)
    assert cluster.engines[1].leader == cluster.members[2]


def test_a_new_leader_finishes_the_change_that_it_inherits_before_it_begins_another() -> None:
    """The set in its log is uncommitted: nothing else may be changed until its own term has committed."""
    bench = Bench(3, 2)
    spare = member(9)
    bench.bond(spare)
    change_entry = entry(2, 3, Configuration(voters=(*bench.voters, spare)))
    bench.receive(append(2, at(2, 2), change_entry, commit=2), bench.voters[1])
    win(bench, bench.voters[1], bench.voters[2])
    say(bench, bench.voters[2], leaving=True)
    for _ in range(3):
        for each in (*bench.voters[1:], spare):
            bench.receive(holds(bench, at(2, 3), round_number=bench.leader.replication.round), each)
        bench.advance(0.2)
    assert (bench.engine.commit, bench.engine.ctx.log.voters_index) == (2, 3)
    bench.acknowledge(*bench.voters[1:], spare)
    bench.advance(0.15)
    bench.receive(holds(bench, at(3, 4), round_number=bench.leader.replication.round), bench.voters[1])
    bench.receive(holds(bench, at(3, 4), round_number=bench.leader.replication.round), spare)
    bench.advance(0.1)
    assert (bench.engine.commit, bench.engine.ctx.log.voters_index) == (4, 5)


def test_a_follower_may_campaign_with_a_set_that_is_not_committed() -> None:
    """Ours: the newest set in the log is the set; nothing has to be applied before a campaign."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2), entry(2, 3, Configuration(voters=tuple(bench.voters[:2])))), bench.voters[1])
    assert bench.engine.commit == 0
    bench.campaign()
    asked = {to for to, message in bench.history() if isinstance(message, RequestVote)}
    assert asked == {bench.voters[1]}


@pytest.mark.parametrize("max_voters", [1, 3])
def test_the_set_never_grows_beyond_its_bound(max_voters: int) -> None:
    cluster = Cluster(5, voters=1, config=replace(CONFIG, max_voters=max_voters))
    cluster.elect(1)
    cluster.run(5)
    assert len(cluster.voters(1)) == max_voters


def test_observers_are_never_added() -> None:
    cluster = Cluster(5, voters=3, observers=(4, 5))
    cluster.elect(1)
    cluster.run(5)
    assert changes(cluster, 1) == []
    assert cluster.terms(4) == cluster.terms(5) == [2]


def test_a_removed_member_still_gets_entries_as_long_as_it_is_there() -> None:
    """Ours: whoever is bonded is fed; only votes are taken away."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.engines[3].leave()
    cluster.tell(1, of=3)
    cluster.run(1)
    assert cluster.voters(3) == [1, 2]
    cluster.propose(1)
    cluster.deliver()
    assert cluster.terms(3) == cluster.terms(1)
