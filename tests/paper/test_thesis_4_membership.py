"""Thesis, sections 4.1 and 4.2: one member at a time; safe and available while it happens."""

from __future__ import annotations

from itertools import pairwise

from p2praft.raft.engine import Engine
from p2praft.raft.entries import Configuration, LogEntry
from p2praft.raft.messages import RequestVoteResponse
from p2praft.raft.types import Vote
from tests.paper.cluster import Cluster
from tests.paper.support import entries_of, holds, win
from tests.raft.support import CONFIG, Bench, append, at, entry, founded, member, only, request_vote


def configurations(cluster: Cluster, number: int) -> list[LogEntry]:
    """The changes of the voter set in one member's log."""
    held = cluster.engines[number].ctx.log
    return [each for each in held.between(1, held.last.index) if isinstance(each.payload, Configuration)]


# --- 4.1 safety


def test_each_change_adds_or_removes_one_member() -> None:
    """Thesis 4.1: any majority of the old and any of the new set overlap only if the sets differ by one server."""
    cluster = Cluster(5, voters=1)
    cluster.elect(1)
    cluster.run(5)
    sets = [{1}] + [
        {voter.peer_id.key[0] for voter in change.payload.voters}
        for change in configurations(cluster, 1)
        if isinstance(change.payload, Configuration)
    ]
    assert sets[-1] == {1, 2, 3, 4, 5}
    assert all(len(before ^ after) == 1 for before, after in pairwise(sets))


def test_the_next_change_waits_for_the_commit_of_the_one_before() -> None:
    """Thesis 4.1: a leader may not begin a change while an earlier one is uncommitted."""
    bench = Bench(3, 2)
    spares = [member(8), member(9)]
    for spare in spares:
        bench.bond(spare)
    bench.lead()
    for _ in range(5):  # everybody answers, but nobody holds more than the entry before the change
        for each in (*bench.voters[1:], *spares):
            bench.receive(holds(bench, at(3, 3), round_number=bench.leader.replication.round), each)
        bench.advance(0.2)
    assert bench.engine.voters == (*bench.voters, spares[0])
    bench.beat(*bench.voters[1:], *spares)
    assert bench.engine.voters == (*bench.voters, *spares)


def test_a_voter_set_takes_effect_when_it_is_appended() -> None:
    """Thesis 4.1: a server uses a new configuration as soon as it is in its log; it does not wait for the commit."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2), entry(2, 3, Configuration(voters=(bench.me,)))), bench.voters[1])
    bench.time_out()
    assert bench.engine.is_leader, "the only voter needs nobody else"


def test_a_voter_set_that_was_restored_from_disk_is_in_effect() -> None:
    """Thesis 4.1: what stands in the log counts, after a crash too."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2), entry(2, 3, Configuration(voters=tuple(bench.voters[:2])))), bench.voters[1])
    restored = founded(entries_of(bench), term=bench.engine.term)
    engine = Engine(me=bench.me, config=CONFIG, rng=bench.engine.ctx.rng, now=0.0, restored=restored)
    assert engine.voters == tuple(bench.voters[:2])


def test_no_change_begins_before_the_leader_has_committed_in_its_term() -> None:
    """Ongaro's correction of 2015 to thesis 4.1: else two leaders' single changes could find disjoint majorities."""
    bench = Bench(3, 2)
    spares = [member(8), member(9)]
    for spare in spares:
        bench.bond(spare)
    bench.receive(append(2, at(2, 2), commit=2), bench.voters[1])  # the set that holds is committed
    win(bench, bench.voters[1])
    for _ in range(5):  # everybody answers, and holds all but the entry that opens the term
        for each in (*bench.voters[1:], *spares):
            bench.receive(holds(bench, at(2, 2), round_number=bench.leader.replication.round), each)
        bench.advance(0.2)
    assert (bench.engine.commit, bench.engine.voters) == (2, tuple(bench.voters))
    bench.acknowledge(*bench.voters[1:], *spares)
    bench.beat(*bench.voters[1:], *spares, rounds=2)
    assert bench.engine.voters == (*bench.voters, spares[0])


def test_a_member_grants_votes_and_takes_entries_whatever_its_own_voter_set_says() -> None:
    """Thesis 4.1: RPCs are processed without consulting one's configuration: the asker may know a newer one."""
    bench = Bench(2, 2, observers=1)
    stranger = bench.members[2]
    [vote] = only(bench.receive(request_vote(5, at(2, 2)), stranger), RequestVoteResponse)
    assert vote.supports
    bench.receive(append(5, at(2, 2), entry(5, 3)), stranger)
    assert (bench.engine.last, bench.engine.leader) == (at(5, 3), stranger)


# --- 4.2.1 catching up


def test_a_member_is_added_once_it_has_caught_up_and_not_before() -> None:
    """Thesis 4.2.1: until then it is a non-voter, so that adding it does not hold up commits."""
    cluster = Cluster({1: (2,) * 40, 2: (2,) * 40, 3: (2,) * 40, 4: (), 5: ()}, voters=3, term=2)
    cluster.slow |= {4, 5}
    cluster.elect(1)
    cluster.run(2)
    assert cluster.voters(1) == [1, 2, 3]
    for number in (4, 5):
        cluster.finish_writes(number)
    cluster.slow.clear()
    cluster.run(3)
    assert cluster.voters(1) == [1, 2, 3, 4, 5]


def test_a_member_that_cannot_be_reached_is_not_added() -> None:
    """Thesis 4.2.1: the leader must not add a server that is unavailable or makes no progress."""
    cluster = Cluster(5, voters=3)
    cluster.isolate(5)
    cluster.elect(1)
    cluster.run(5)
    assert cluster.voters(1) == [1, 2, 3]


def test_a_non_voter_counts_neither_for_commits_nor_for_elections() -> None:
    """Thesis 4.2.1: it receives entries, but is not counted towards majorities for voting or commitment."""
    bench = Bench(3, 2, observers=4)
    bench.campaign()
    for spare in bench.members[3:]:
        bench.receive(RequestVoteResponse(term=bench.engine.term, vote=Vote.GRANTED, supports=True), spare)
    assert bench.engine.role.name == "candidate"
    win(bench, bench.voters[1])
    for spare in bench.members[3:]:
        bench.receive(holds(bench, bench.engine.last), spare)
    assert bench.engine.commit == 0


# --- 4.2.2 removing the leader


def test_a_leader_that_leaves_hands_over_and_is_removed_by_its_successor() -> None:
    """Thesis 4.2.2: a leadership transfer before the removal is the simplest way; ours never removes itself."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.engines[1].leave()
    cluster.run(2)
    assert (cluster.leaders, cluster.voters(1)) == ([1], [1, 2, 3])
    assert cluster.engines[1].transfer_leadership(None, cluster.now)
    cluster.run(2)
    [leader] = cluster.leaders
    assert leader in (2, 3)
    assert cluster.voters(leader) == [2, 3]


def test_who_is_removed_campaigns_until_it_knows_that_committed_for_it_may_be_the_only_one_that_has_it() -> None:
    """Thesis 4.2.2, figure 4.6. Seed 312632: the leader of two crashed before its own write of the removal was on its disk."""
    cluster = Cluster(2)
    cluster.elect(1)
    cluster.run(1)
    cluster.slow.add(1)
    cluster.engines[2].leave()
    cluster.tell(1, of=2)
    cluster.run(0.3)
    assert (cluster.voters(2), cluster.voters(1)) == ([1], [1])
    cluster.slow.discard(1)
    cluster.crash(1)
    cluster.restart(1)
    assert cluster.voters(1) == [1, 2], "it has forgotten the removal"
    cluster.run(10)
    assert cluster.leaders == [1]
    assert cluster.voters(1) == [1]
    assert len(configurations(cluster, 1)) == len(configurations(cluster, 2)) == 1


# --- 4.2.3 disruptive servers


def test_a_removed_member_that_comes_back_does_not_depose_the_leader() -> None:
    """Thesis 4.2.3: without heartbeats it times out for ever; neither the leader nor the term may suffer."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.engines[3].leave()
    cluster.tell(1, of=3)
    cluster.run(1)
    assert cluster.voters(1) == [1, 2]
    cluster.cuts.clear()
    cluster.lost = lambda sender, to, _message: to == 3 and sender == 1
    term = cluster.engines[1].term
    cluster.run(30)
    assert (cluster.leaders, cluster.engines[1].term) == ([1], term)
    assert cluster.engines[3].voters == tuple(map(member, (1, 2, 3)))
