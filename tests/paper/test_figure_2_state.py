"""Figure 2, "State": what survives a crash, what begins anew."""

from __future__ import annotations

from p2praft.raft.effects import Write
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, RequestVoteResponse
from p2praft.raft.types import Index, Vote
from tests.paper.cluster import Cluster
from tests.paper.support import committed, entries_of, holds, lacks, win
from tests.raft.support import Bench, append, at, entry, only, request_vote


def unwritten(bench: Bench) -> Write:
    """What the engine asks the storage to write."""
    write = bench.effects[-1].write
    assert write is not None
    return write


# --- persistent state on all servers: on stable storage before responding


def test_a_newer_term_is_durable_before_any_answer_in_it() -> None:
    """Figure 2, persistent state, currentTerm: updated on stable storage before responding."""
    bench = Bench(3, 2, auto_persist=False)
    assert bench.receive(append(7, at(2, 2)), bench.voters[1]) == []
    write = unwritten(bench)
    assert write.state is not None
    assert write.state.term == 7
    bench.engine.persisted(write.serial, bench.now)
    assert [response.term for response in only(bench.sent(), AppendEntriesResponse)] == [7]


def test_a_vote_is_durable_before_the_candidate_hears_of_it() -> None:
    """Figure 2, persistent state, votedFor: updated on stable storage before responding."""
    bench = Bench(3, 2, auto_persist=False)
    assert bench.receive(request_vote(7, at(2, 2)), bench.voters[1]) == []
    write = unwritten(bench)
    assert write.state is not None
    assert write.state.vote == bench.voters[1]
    bench.engine.persisted(write.serial, bench.now)
    assert [response.vote for response in only(bench.sent(), RequestVoteResponse)] == [Vote.GRANTED]


def test_entries_are_durable_before_the_leader_hears_of_them() -> None:
    """Figure 2, persistent state, log[]: updated on stable storage before responding."""
    bench = Bench(3, 2, auto_persist=False)
    assert bench.receive(append(2, at(2, 2), entry(2, 3), entry(2, 4)), bench.voters[1]) == []
    write = unwritten(bench)
    assert (write.replace_from, write.entries) == (3, (entry(2, 3), entry(2, 4)))
    bench.engine.persisted(write.serial, bench.now)
    assert [response.last for response in only(bench.sent(), AppendEntriesResponse)] == [at(2, 4)]


def test_a_member_that_crashes_after_its_vote_does_not_vote_again_in_that_term() -> None:
    """Figure 2, persistent state, votedFor: the candidate that received the vote in the current term."""
    cluster = Cluster(3)
    cluster.hear(1, request_vote(5, at(1, 1)), sender=2)
    cluster.crash(1)
    cluster.restart(1)
    cluster.hear(1, request_vote(5, at(1, 1)), sender=3)
    [(_, outgoing)] = cluster.wire
    assert isinstance(outgoing.message, RequestVoteResponse)
    assert outgoing.message.vote is Vote.DENIED


def test_a_member_that_crashes_keeps_term_and_entries() -> None:
    """Figure 2, persistent state: currentTerm and log[] are as they were."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    before = cluster.engines[3].term, cluster.terms(3)
    cluster.crash(3)
    cluster.restart(3)
    assert (cluster.engines[3].term, cluster.terms(3)) == before == (2, [2, 2])


def test_what_a_crash_kept_from_the_disk_was_promised_to_nobody() -> None:
    """Figure 2, persistent state: an entry that is lost with the memory never counted as replicated."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(2)
    cluster.slow.add(3)
    cluster.propose(1)
    cluster.deliver()
    assert cluster.terms(3) == [2, 2]
    assert cluster.engines[1].commit == 2
    cluster.crash(3)
    cluster.restart(3)
    assert cluster.terms(3) == [2]


# --- volatile state


def test_the_commit_index_begins_at_zero_and_is_learnt_anew() -> None:
    """Figure 2, volatile state, commitIndex: initialised to 0; a restarted member hears it from the leader."""
    assert Bench(3, 2, 2).engine.commit == 0
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(3)
    cluster.restart(3)
    assert cluster.engines[3].commit == 0
    cluster.run(0.2)
    assert cluster.engines[3].commit == cluster.engines[1].commit == 2


def test_the_commit_index_never_goes_back() -> None:
    """Figure 2, volatile state, commitIndex: increases monotonically, also if older messages come later."""
    bench = Bench(3, 2, 2)
    bench.receive(append(2, at(2, 3), commit=3), bench.voters[1])
    bench.receive(append(2, at(2, 3), commit=2), bench.voters[1])
    assert bench.engine.commit == 3


def test_each_entry_is_applied_once_and_in_order() -> None:
    """Figure 2, volatile state, lastApplied: increases monotonically and never passes commitIndex."""
    bench = Bench(3, 2, 2)
    for commit in (1, 1, 2, 1, 3):
        bench.receive(append(2, at(2, 3), commit=commit), bench.voters[1])
        assert [applied.index for applied in committed(bench)] == list(range(1, bench.engine.commit + 1))
    assert tuple(committed(bench)) == entries_of(bench)


def test_a_leader_begins_to_replicate_behind_its_last_entry() -> None:
    """Figure 2, volatile state on leaders, nextIndex: initialised to the leader's last log index + 1."""
    bench = Bench(3, 2, 2)
    sent = win(bench, bench.voters[1], vote=Vote.ABSTAINED)
    assert [message.prev for message in only(sent, AppendEntries)] == [at(2, 3), at(2, 3)]


def test_a_leader_knows_nothing_of_who_did_not_grant() -> None:
    """Figure 2, volatile state on leaders, matchIndex: initialised to 0.

    Ours begins higher for a voter that granted: a grant says that its log ends where the candidate's does.
    """
    bench = Bench(5, 2, 2)
    win(bench, bench.voters[1], bench.voters[2])
    progress = bench.leader.replication.progress
    assert [progress[voter].match for voter in bench.voters[1:]] == [3, 3, 0, 0]


def test_what_is_known_to_match_only_grows() -> None:
    """Figure 2, volatile state on leaders, matchIndex: increases monotonically."""
    bench = Bench(3, 2, 2)
    bench.lead()
    follower = bench.voters[1]
    matched = bench.leader.replication.progress[follower].match
    bench.receive(holds(bench, at(2, 2)), follower)
    bench.receive(lacks(bench, at(1, 1)), follower)
    assert bench.leader.replication.progress[follower].match == matched == bench.engine.last.index


def test_a_leader_that_is_elected_again_begins_anew() -> None:
    """Figure 2, volatile state on leaders: reinitialised after election."""
    bench = Bench(3, 2)
    bench.lead()
    bench.receive(append(9, at(2, 2)), bench.voters[2])
    win(bench, bench.voters[1], vote=Vote.ABSTAINED)
    assert [bench.leader.replication.progress[voter].match for voter in bench.voters[1:]] == [Index(0), Index(0)]
