"""Section 6: changes of the voter set. Ours go one member at a time (thesis, chapter 4), so joint sets are not needed."""

from __future__ import annotations

from itertools import combinations

import pytest

from p2praft.raft.entries import Configuration, NoOp
from p2praft.raft.messages import AppendEntries, PreVoteResponse
from p2praft.raft.quorum import has_quorum
from p2praft.raft.types import Vote
from tests.paper.cluster import Cluster
from tests.paper.support import holds, propose, sent_to
from tests.raft.support import Bench, append, at, entry, member, only, pre_vote


def change(bench: Bench, *voters: int) -> None:
    """Have the leader append a voter set, as its steward would."""
    payload = Configuration(voters=tuple(map(member, voters)))
    bench.leader.append(payload, bench.me.peer_id, bench.engine.ctx)
    bench.take()


@pytest.mark.parametrize("size", range(1, 7))
def test_majorities_before_and_after_a_step_always_share_a_member(size: int) -> None:
    """Section 6: no point in time may have two majorities that decide independently."""
    old = [member(number) for number in range(1, size + 1)]
    new = [*old, member(size + 1)]
    for one in range(1, size + 1):
        for other in range(1, size + 2):
            for before in combinations(old, one):
                for after in combinations(new, other):
                    if has_quorum(old, before) and has_quorum(new, after):
                        assert set(before) & set(after)


def test_a_follower_uses_the_newest_voter_set_in_its_log_committed_or_not() -> None:
    """Section 6: a server always uses the latest configuration in its log, regardless of whether it is committed."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2), entry(2, 3, Configuration(voters=tuple(bench.voters[:2])))), bench.voters[1])
    assert bench.engine.commit == 0
    assert bench.engine.voters == tuple(bench.voters[:2])


def test_a_voter_set_that_is_overwritten_is_forgotten() -> None:
    """Section 6 and thesis, section 4.1: a server must be ready to fall back to the previous configuration in its log."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2), entry(2, 3, Configuration(voters=tuple(bench.voters[:2])))), bench.voters[1])
    bench.receive(append(3, at(2, 2), entry(3, 3, NoOp())), bench.voters[2])
    assert bench.engine.voters == tuple(bench.voters)


def test_commits_need_a_majority_of_the_new_set_at_once() -> None:
    """Section 6: the rules of the new set hold as soon as the leader has it in its log."""
    bench = Bench(3, 2, observers=2)
    bench.lead()
    change(bench, 1, 2, 3, 4)
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    assert bench.engine.commit == 3, "two of four"
    bench.receive(holds(bench, bench.engine.last), bench.members[3])
    assert bench.engine.commit == 4


def test_a_removed_voter_counts_no_longer() -> None:
    """Section 6: from then on its answer is worth nothing for commits."""
    bench = Bench(3, 2)
    bench.lead()
    change(bench, 1, 2)
    bench.receive(holds(bench, bench.engine.last), bench.voters[2])
    assert bench.engine.commit == 3
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    assert bench.engine.commit == 4


def test_a_new_member_does_not_vote_until_it_has_caught_up() -> None:
    """Section 6: new servers join as non-voting members; the leader replicates to them, but does not count them."""
    cluster = Cluster({1: (2,) * 30, 2: (2,) * 30, 3: (2,) * 30, 4: (), 5: ()}, voters=3, term=2)
    cluster.isolate(4, 5)
    cluster.elect(1)
    cluster.run(3)
    assert cluster.voters(1) == [1, 2, 3]
    cluster.heal()
    cluster.run(3)
    assert cluster.voters(1) == cluster.voters(4) == [1, 2, 3, 4, 5]


def test_a_leader_outside_the_new_set_leads_until_that_is_committed_and_does_not_count_itself() -> None:
    """Section 6: the leader steps down once the new configuration is committed; until then it counts majorities without itself."""
    bench = Bench(3, 2)
    bench.lead()
    change(bench, 2, 3)
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    assert (bench.engine.role.name, bench.engine.commit) == ("leader", 3)
    bench.receive(holds(bench, bench.engine.last), bench.voters[2])
    assert (bench.engine.role.name, bench.engine.commit) == ("follower", 4)


def test_who_hears_a_leader_disregards_those_who_want_to_campaign() -> None:
    """Section 6, end: a removed server that times out must not disturb the others.

    The paper disregards RequestVote; ours asks by pre-vote before each campaign, so that is denied.
    """
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    bench.now += 0.99
    [answer] = only(bench.receive(pre_vote(2, at(2, 2)), bench.voters[2]), PreVoteResponse)
    assert answer.vote is Vote.DENIED
    bench.now += 0.02
    [answer] = only(bench.receive(pre_vote(2, at(2, 2)), bench.voters[2]), PreVoteResponse)
    assert answer.vote is Vote.GRANTED


def test_a_removed_member_that_never_heard_of_it_does_not_disturb() -> None:
    """Section 6, end: it keeps timing out, but neither the term nor the leader changes."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.engines[3].leave()
    cluster.tell(1, of=3)
    cluster.run(1)
    assert (cluster.voters(1), cluster.voters(3)) == ([1, 2], [1, 2, 3])
    term = cluster.engines[1].term
    cluster.cuts.clear()
    # It never gets entries again, but its requests reach everybody.
    cluster.lost = lambda _sender, to, _message: to == 3
    cluster.run(20)
    assert cluster.engines[3].role.name == "candidate"
    assert (cluster.leaders, cluster.engines[1].term) == ([1], term)


def test_new_members_are_fed_before_they_vote() -> None:
    """Section 6: entries are replicated to non-voting members as to any other."""
    bench = Bench(3, 2, observers=1)
    bench.lead()
    spare = bench.members[3]
    bench.receive(holds(bench, bench.engine.last, vote=Vote.ABSTAINED), spare)
    [message] = [m for m in sent_to(propose(bench), spare, AppendEntries) if m.entries]
    assert message.last == bench.engine.last
