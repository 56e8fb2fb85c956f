"""Section 5.3: log replication and log matching; section 5.5: crashes of followers and candidates."""

from __future__ import annotations

from p2praft.raft.entries import LogEntry
from p2praft.raft.leader import COMMIT_DELAY
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse
from tests.paper.cluster import Cluster
from tests.paper.support import entries_of, holds, lacks, propose, sent_to, win
from tests.raft.support import Bench, append, at, entry, log, only


def everything(cluster: Cluster, number: int) -> tuple[LogEntry, ...]:
    """One member's whole log."""
    held = cluster.engines[number].ctx.log
    return held.between(1, held.last.index)


def test_an_entry_holds_its_command_the_leaders_term_and_its_index() -> None:
    """Section 5.3: each entry stores a command, the term in which the leader received it, and its position."""
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    newest = entries_of(bench)[-1]
    assert (newest.term, newest.index, newest.proposer) == (3, 4, bench.me.peer_id)


def test_an_entry_is_applied_only_once_a_majority_holds_it() -> None:
    """Section 5.3: an entry is committed once the leader that created it has replicated it on a majority."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.split(1, 2)
    cluster.propose(1)
    cluster.deliver()
    assert cluster.terms(2) == [2, 2]
    assert [applied.index for applied in cluster.applied[1]] == [1, 2]
    cluster.heal()
    cluster.run(0.3)
    assert {len(cluster.applied[number]) for number in range(1, 6)} == {3}


def test_a_commit_takes_with_it_all_earlier_entries_also_those_of_earlier_leaders() -> None:
    """Section 5.3: this also commits all preceding entries in the leader's log."""
    bench = Bench(3, 2, 2, 3)
    win(bench, bench.voters[1])
    assert bench.engine.commit == 0
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    assert bench.engine.commit == 5


def test_followers_learn_of_commits_and_apply() -> None:
    """Section 5.3: the leader includes the highest index known to be committed in future AppendEntries."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1)
    cluster.deliver()
    cluster.run(COMMIT_DELAY)
    assert cluster.applied[3] == cluster.applied[1] == list(everything(cluster, 1))


def test_a_follower_that_does_not_answer_is_asked_for_ever() -> None:
    """Section 5.3: followers crash, run slowly, or packets are lost: the leader retries indefinitely."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1)
    cluster.deliver()
    cluster.run(15)
    assert cluster.leaders == [1]
    assert cluster.terms(3) == [2]
    cluster.heal()
    cluster.run(0.5)
    assert everything(cluster, 3) == everything(cluster, 1)


def test_the_check_of_what_came_before_keeps_logs_matching() -> None:
    """Section 5.3, Log Matching: same index and term in two logs: all entries up to there are identical."""
    cluster = Cluster({1: (2, 2, 3), 2: (2, 2, 3), 3: (2, 4), 4: (2, 2), 5: (5, 5, 5, 5)}, term=6)
    cluster.isolate(5)
    cluster.elect(1)
    cluster.run(0.5)
    cluster.heal()
    cluster.run(0.5)
    assert len({everything(cluster, number) for number in range(1, 6)}) == 1


def test_a_leader_never_changes_its_own_log_but_at_the_end() -> None:
    """Section 5.3, Leader Append-Only: a leader never overwrites or deletes entries in its log."""
    bench = Bench(3, 2, 2, 2)
    win(bench, bench.voters[1])
    before = entries_of(bench)
    bench.receive(lacks(bench, at(1, 1)), bench.voters[2])
    bench.receive(holds(bench, at(9, 9)), bench.voters[2])
    bench.receive(append(3, at(2, 2), entry(2, 3)), bench.voters[2])  # nobody else may lead its term
    assert entries_of(bench)[: len(before)] == before


def test_the_followers_conflicting_entries_are_overwritten() -> None:
    """Section 5.3: the leader forces the followers' logs to duplicate its own."""
    bench = Bench(3, 2, 3, 3)
    bench.receive(append(5, at(2, 2), entry(5, 3)), bench.voters[1])
    assert entries_of(bench) == (*log(bench.voters, 2), entry(5, 3))


def test_one_refusal_skips_a_whole_conflicting_term() -> None:
    """Section 5.3, end: the follower names the term that conflicts; one round trip for each such term, not each entry."""
    bench = Bench(3, 2, *[4] * 50)
    [refusal] = only(bench.receive(append(5, at(3, 30), entry(5, 31)), bench.voters[1]), AppendEntriesResponse)
    assert (refusal.matched, refusal.last) == (False, at(2, 2))


def test_once_the_logs_match_entries_flow_without_waiting() -> None:
    """Section 5.3: if a follower's log is consistent with the leader's, AppendEntries succeeds from then on."""
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1])
    follower = bench.voters[2]
    bench.receive(lacks(bench, at(2, 2)), follower)
    bench.receive(holds(bench, bench.engine.last), follower)
    sent = [*propose(bench, 1), *propose(bench, 2)]
    prevs = [message.prev for message in sent_to(sent, follower, AppendEntries) if message.entries]
    assert prevs == [at(3, 4), at(3, 5)]


def test_a_leader_waits_for_the_majority_not_for_the_slowest() -> None:
    """Section 5.3 and 2: a minority of slow servers need not impact performance."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(4, 5)
    for _ in range(200):
        cluster.propose(1)
        cluster.deliver()
    assert cluster.engines[1].commit == cluster.engines[1].last.index == 202


# --- section 5.5


def test_a_repeated_message_does_no_harm() -> None:
    """Section 5.5: RPCs are idempotent; entries that are in the log already are ignored."""
    bench = Bench(3, 2)
    message = append(3, at(2, 2), entry(3, 3), entry(3, 4))
    first = only(bench.receive(message, bench.voters[1]), AppendEntriesResponse)
    before = entries_of(bench)
    assert only(bench.receive(message, bench.voters[1]), AppendEntriesResponse) == first
    assert entries_of(bench) == before
    assert bench.effects[-1].write is None


def test_a_follower_that_crashed_gets_what_it_missed() -> None:
    """Section 5.5: if a follower crashes, AppendEntries to it are retried until it has restarted."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(3)
    for _ in range(5):
        cluster.propose(1)
        cluster.deliver()
    cluster.restart(3)
    cluster.run(0.3)
    assert everything(cluster, 3) == everything(cluster, 1)
    assert cluster.applied[3] == cluster.applied[1]
