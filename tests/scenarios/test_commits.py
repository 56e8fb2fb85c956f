"""What counts as committed, when, and who hears of it."""

from __future__ import annotations

import pytest

from p2praft.raft.leader import COMMIT_DELAY
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, Message
from p2praft.raft.types import Vote
from tests.paper.cluster import Cluster
from tests.paper.support import committed, holds, lacks, propose, sent_to, win
from tests.raft.support import Bench, append, at, entry, only


@pytest.mark.parametrize(
    ("matches", "commit"),
    [
        ((), 4),
        ((0,), 0),
        ((4,), 4),
        ((4, 0), 4),
        ((3, 3), 0),
        ((4, 4, 0), 4),
        ((4, 0, 0), 0),
        ((4, 4, 0, 0), 4),
        ((4, 3, 3, 3), 0),
        ((3, 4, 0, 4), 4),
    ],
)
def test_a_majority_must_hold_an_entry_of_the_leaders_term(matches: tuple[int, ...], commit: int) -> None:
    """Indices 2 and 3 are of term 2, index 4 opens the leader's term 3; the leader itself holds all."""
    bench = Bench(len(matches) + 1, 2, 2)
    win(bench, *bench.voters[1 : len(bench.voters) // 2 + 1], vote=Vote.ABSTAINED)
    for voter, match in zip(bench.voters[1:], matches, strict=True):
        if match:
            bench.receive(holds(bench, bench.engine.ctx.log.cursor_at(match)), voter)
    assert bench.engine.commit == commit


def test_proposals_of_any_member_are_applied_everywhere_in_one_order() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    for number in (1, 2, 3, 2):
        cluster.propose(number)
    cluster.deliver()
    cluster.run(0.3)
    assert cluster.applied[1] == cluster.applied[2] == cluster.applied[3]
    proposers = [applied.proposer.key[0] for applied in cluster.applied[3][2:]]
    assert sorted(proposers) == [1, 2, 2, 3]


@pytest.mark.parametrize(("members", "silent", "commits"), [(3, (3,), True), (3, (2, 3), False), (5, (2, 3, 4), False)])
def test_without_a_majority_nothing_commits(members: int, silent: tuple[int, ...], commits: bool) -> None:
    cluster = Cluster(members)
    cluster.elect(1)
    cluster.isolate(*silent)
    cluster.propose(1)
    cluster.deliver()
    assert (cluster.engines[1].commit == 3) is commits


def test_a_sole_voter_commits_once_its_own_disk_has_it() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.slow.add(1)
    cluster.propose(1)
    assert cluster.engines[1].commit == 2
    cluster.finish_writes(1)
    assert cluster.engines[1].commit == 3


def test_a_new_leader_does_not_commit_what_it_inherits_before_its_own_entry_gets_through() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(3, 4, 5)
    cluster.propose(1)
    cluster.propose(1)
    cluster.deliver()
    cluster.heal()
    cluster.isolate(1)

    def lost(_sender: int, _to: int, message: Message) -> bool:
        return isinstance(message, AppendEntries) and message.last.term == 3

    cluster.lost = lost
    cluster.elect(2)
    inherited = cluster.engines[2].ctx.log.between(3, 4)
    for number in (3, 4, 5):
        cluster.hear(number, append(3, at(2, 2), *inherited), sender=2)
    cluster.deliver()
    assert cluster.engines[2].commit == 2
    cluster.lost = None
    cluster.run(0.2)
    assert cluster.engines[2].commit == 5


def test_a_new_leader_commits_what_it_inherits_without_waiting_for_a_proposal() -> None:
    cluster = Cluster({1: (2, 2), 2: (2,), 3: (2,)}, term=2)
    cluster.elect(1)
    cluster.run(COMMIT_DELAY)
    assert cluster.engines[1].commit == 4
    assert cluster.engines[3].commit == 4


def test_an_old_leaders_entries_that_come_late_are_not_taken() -> None:
    cluster = Cluster(3)
    for number in (1, 2, 1):
        cluster.elect(number)
    before = cluster.terms(1)
    cluster.hear(1, append(3, at(2, 2), entry(3, 3), entry(3, 4), commit=4), sender=2)
    cluster.deliver()
    assert cluster.terms(1) == before == [2, 3, 4]


def test_a_heartbeat_tells_a_commit_that_was_lost_on_its_way() -> None:
    """The acknowledgement was lost, and the news of the commit too; the next heartbeat brings the index at once."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(0.3)
    cluster.lost = lambda sender, to, message: (
        (sender, to) == (3, 1) or (to == 3 and getattr(message, "entries", 1) == ())
    )
    cluster.propose(1)
    cluster.deliver()
    assert (cluster.engines[1].commit, cluster.engines[3].commit, cluster.terms(3)) == (3, 2, [2, 2])
    cluster.heal()
    cluster.run(0.1)
    assert cluster.engines[3].commit == 3


def test_a_heartbeat_vouches_only_for_what_it_names() -> None:
    """A member may hold entries beyond that the leader does not have."""
    bench = Bench(3, 2, 2, 2)
    bench.receive(append(3, at(2, 2), commit=4), bench.voters[1])
    assert bench.engine.commit == 2


def test_a_heartbeat_with_an_older_commit_index_takes_nothing_back() -> None:
    bench = Bench(3, 2, 2)
    bench.receive(append(2, at(2, 3), commit=3), bench.voters[1])
    bench.receive(append(2, at(2, 3), commit=1, round_number=2), bench.voters[1])
    assert bench.engine.commit == 3


def test_followers_hear_of_a_commit_without_waiting_for_a_heartbeat() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    cluster.run(COMMIT_DELAY)
    assert {engine.commit for engine in cluster.engines.values()} == {3}


def test_an_acknowledgement_beyond_the_leaders_log_commits_no_more_than_there_is() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    bench.receive(holds(bench, at(3, 99)), bench.voters[1])
    assert bench.engine.commit == bench.engine.last.index == 4


def test_an_acknowledgement_that_abstains_commits_nothing() -> None:
    """Ours: a durable voter that was started as an observer answers, but takes part in no quorum."""
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    for voter in bench.voters[1:]:
        bench.receive(holds(bench, bench.engine.last, vote=Vote.ABSTAINED), voter)
    assert bench.engine.commit == 3


def test_a_refusal_commits_nothing() -> None:
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    for voter in bench.voters[1:]:
        bench.receive(lacks(bench, bench.engine.last), voter)
    assert bench.engine.commit == 3


def test_a_follower_that_lost_what_it_acknowledged_commits_nothing_it_lacks() -> None:
    """Its disk broke its promise: it refuses every heartbeat, and its commit index stays where its log ends."""
    bench = Bench(3, 2)
    for commit in (3, 4, 5):
        [answer] = only(bench.receive(append(2, at(2, 5), commit=commit), bench.voters[1]), AppendEntriesResponse)
        assert (answer.matched, answer.last) == (False, at(2, 2))
    assert committed(bench) == []


def test_an_entry_is_offered_to_a_follower_once_while_nothing_is_lost() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = [*propose(bench, 1), *propose(bench, 2), *bench.acknowledge(*bench.voters[1:])]
    offered = [e.index for m in sent_to(sent, bench.voters[1], AppendEntries) for e in m.entries]
    assert offered == [4, 5]
