"""Writes take their time: what a member may say and count before its own disk has answered."""

from __future__ import annotations

from p2praft.raft.effects import Write
from p2praft.raft.leader import COMMIT_DELAY
from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, Message, RequestVoteResponse
from p2praft.raft.types import Term, Vote
from tests.paper.cluster import Cluster
from tests.paper.support import committed, propose, win
from tests.raft.support import Bench, append, at, entry, only, request_vote


def told(bench: Bench, message: Message, sender: int) -> Write:
    """What is to be written because of a message; the write is not done yet."""
    assert only(bench.receive(message, bench.voters[sender]), AppendEntriesResponse) == []
    write = bench.effects[-1].write
    assert write is not None
    return write


def done(bench: Bench, write: Write) -> list[tuple[int, tuple[int, int]]]:
    """Finish a write; which acknowledgements leave because of it, as (their term, up to where)."""
    bench.engine.persisted(write.serial, bench.now)
    answers = only(bench.sent(), AppendEntriesResponse)
    return [(answer.term, (answer.last.term, answer.last.index)) for answer in answers]


def test_an_entry_that_came_went_and_came_again_is_acknowledged_by_its_last_write_only() -> None:
    """The A-B-A race: the first write of an entry says nothing once another took its place for a while."""
    bench = Bench(3, 2, auto_persist=False)
    a = told(bench, append(3, at(2, 2), entry(3, 3)), 1)
    b = told(bench, append(4, at(2, 2), entry(4, 3)), 2)
    again = told(bench, append(5, at(2, 2), entry(3, 3)), 1)
    assert bench.engine.last == at(3, 3)
    assert done(bench, a) == [(3, (3, 3))], "its leader's term is over: nobody counts that"
    assert bench.engine.ctx.log.stable == 2
    assert done(bench, b) == [(4, (4, 3))]
    assert bench.engine.ctx.log.stable == 2
    assert done(bench, again) == [(5, (3, 3))]
    assert bench.engine.ctx.log.stable == 3


def test_a_leader_of_a_later_term_does_not_count_an_acknowledgement_that_was_late() -> None:
    """The other end of the A-B-A race: the answer to the first write arrives in the third term."""
    bench = Bench(3, 3)
    bench.lead()
    propose(bench)
    late = AppendEntriesResponse(term=Term(3), vote=Vote.GRANTED, matched=True, last=at(4, 4), round=0)
    bench.receive(late, bench.voters[1])
    assert bench.engine.commit == 3


def test_the_leaders_entries_leave_before_its_own_write_is_done() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.auto_persist = False
    assert [m.last for m in only(propose(bench), AppendEntries)] == [at(3, 4)] * 2


def test_a_leader_commits_what_it_has_not_written_itself_once_a_majority_has() -> None:
    """Two followers of three have it: that is a majority, however slow the leader's disk."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.slow.add(1)
    cluster.propose(1)
    cluster.deliver()
    cluster.run(COMMIT_DELAY)
    assert cluster.engines[1].ctx.log.stable == 2
    assert [cluster.engines[number].commit for number in (1, 2, 3)] == [3, 3, 3]
    assert len(cluster.applied[1]) == 3
    cluster.finish_writes(1)
    cluster.deliver()
    assert len(cluster.applied[1]) == 3, "nothing is applied twice"


def test_a_leader_with_a_slow_disk_does_not_count_itself() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.slow.add(1)
    cluster.propose(1)
    cluster.deliver()
    assert cluster.engines[1].commit == 2
    cluster.finish_writes(1)
    assert cluster.engines[1].commit == 3


def test_a_leader_that_was_deposed_gains_nothing_from_its_late_write() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.auto_persist = False
    propose(bench)
    write = bench.effects[-1].write
    assert write is not None
    bench.receive(append(9, at(3, 3)), bench.voters[2])
    bench.engine.persisted(write.serial, bench.now)
    bench.take()
    assert (bench.engine.commit, committed(bench)[-1].index) == (3, 3)


def test_one_write_may_hold_many_messages_and_all_are_answered_after_it() -> None:
    bench = Bench(3, 2, auto_persist=False)
    for index in (3, 4, 5):
        bench.engine.receive(
            append(2, at(2, index - 1), entry(2, index)), bench.voters[1], 0.0, history=bench.engine.ctx.history
        )
    assert only(bench.sent(), AppendEntriesResponse) == []
    write = bench.effects[-1].write
    assert write is not None
    assert [each.index for each in write.entries] == [3, 4, 5]
    assert [last for _, last in done(bench, write)] == [(2, 3), (2, 4), (2, 5)]


def test_an_answer_waits_for_all_writes_before_it() -> None:
    """A repeated message brings nothing new, but what it asks about is still being written."""
    bench = Bench(3, 2, auto_persist=False)
    message = append(2, at(2, 2), entry(2, 3))
    write = told(bench, message, 1)
    assert only(bench.receive(message, bench.voters[1]), AppendEntriesResponse) == []
    assert done(bench, write) == [(2, (2, 3))] * 2


def test_a_later_write_vouches_for_the_earlier_ones() -> None:
    bench = Bench(3, 2, auto_persist=False)
    told(bench, append(2, at(2, 2), entry(2, 3)), 1)
    second = told(bench, append(2, at(2, 3), entry(2, 4)), 1)
    assert done(bench, second) == [(2, (2, 3)), (2, (2, 4))]
    assert bench.engine.ctx.log.stable == 4


def test_a_vote_waits_for_the_entries_before_it() -> None:
    """All that was changed so far is durable before anything is promised, in the order of the changes."""
    bench = Bench(3, 2, auto_persist=False)
    first = told(bench, append(2, at(2, 2), entry(2, 3)), 1)
    assert bench.receive(request_vote(5, at(2, 3)), bench.voters[2]) == []
    second = bench.effects[-1].write
    assert second is not None
    bench.engine.persisted(first.serial, bench.now)
    assert only(bench.sent(), RequestVoteResponse) == []
    bench.engine.persisted(second.serial, bench.now)
    assert len(only(bench.sent(), RequestVoteResponse)) == 1


def test_a_refusal_need_not_wait() -> None:
    """It promises nothing about the storage."""
    bench = Bench(3, 2, auto_persist=False)
    told(bench, append(2, at(2, 2), entry(2, 3)), 1)
    [answer] = only(bench.receive(append(2, at(2, 8), entry(2, 9)), bench.voters[1]), AppendEntriesResponse)
    assert not answer.matched


def test_what_was_held_for_a_broken_bond_is_not_sent_over_the_next() -> None:
    bench = Bench(3, 2, auto_persist=False)
    write = told(bench, append(2, at(2, 2), entry(2, 3)), 1)
    bench.engine.bond_down(bench.voters[1], bench.now)
    bench.bond(bench.voters[1])
    assert done(bench, write) == []


def test_a_commit_index_may_run_ahead_of_the_own_disk() -> None:
    """The leader says that a majority has the entry; that we are still writing it does not change that."""
    bench = Bench(3, 2, auto_persist=False)
    told(bench, append(2, at(2, 2), entry(2, 3), commit=3), 1)
    assert (bench.engine.commit, bench.engine.ctx.log.stable) == (3, 2)


def test_a_candidate_asks_nobody_before_its_own_vote_is_durable() -> None:
    cluster = Cluster(3)
    cluster.slow.add(1)
    cluster.campaign(1)
    assert cluster.engines[1].term == 2
    assert cluster.engines[2].term == 1
    cluster.finish_writes(1)
    cluster.deliver()
    assert cluster.leaders == [1]


def test_an_elected_leader_with_a_slow_disk_still_leads() -> None:
    bench = Bench(3, 2)
    win(bench, bench.voters[1])
    bench.auto_persist = False
    for number in range(10):
        propose(bench, number)
    bench.acknowledge(*bench.voters[1:])
    assert bench.engine.commit == bench.engine.last.index
