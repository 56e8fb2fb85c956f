"""Raft paper, section 7 and figure 13: snapshots replace the beginning of the log.

Ours differ in who sends them (whoever has one, see ``docs/decisions/0006``), not in what they mean.
"""

from __future__ import annotations

from p2praft.raft.messages import AppendEntries, AppendEntriesResponse, FetchedChunk, InstallSnapshot
from p2praft.raft.types import Vote
from tests.raft.support import Bench, append, at, entry, log, only
from tests.raft.test_catchup import asked, compacted_leader, fetch_all, install, offer, snapshot_at, take_snapshot


def test_an_older_term_is_answered_at_once() -> None:
    """Figure 13, rule 1: reply immediately if term < currentTerm."""
    bench = Bench(3, 2, 3)
    [answer] = only(bench.receive(install(40), bench.voters[1]), AppendEntriesResponse)
    assert (answer.term, answer.matched) == (3, False)


def test_it_makes_a_candidate_of_its_term_follow() -> None:
    """Figure 13 and section 5.2: whoever sends it leads the term."""
    bench = Bench(3, 1)
    bench.time_out()
    bench.receive(install(40), bench.voters[1])
    assert bench.engine.leader == bench.voters[1]
    assert bench.follower.leader_is_fresh(bench.engine.ctx)


def test_each_server_takes_snapshots_by_itself_of_what_is_committed() -> None:
    """Section 7: servers take snapshots independently, covering just the committed entries in their logs."""
    bench = Bench(3, *[2] * 9)
    bench.engine.compact(snapshot_at(bench, 2, 8), bench.now)
    assert bench.engine.ctx.snapshot is None, "nothing is committed yet"
    bench.receive(append(2, at(2, 10), commit=9), bench.voters[1])
    bench.engine.compact(snapshot_at(bench, 2, 8), bench.now)
    assert bench.engine.ctx.snapshot == snapshot_at(bench, 2, 8)


def test_the_leader_sends_a_snapshot_only_to_who_lacks_what_was_compacted() -> None:
    """Section 7: this happens when the leader has already discarded the next log entry that it needs to send."""
    bench = compacted_leader()
    near = AppendEntriesResponse(term=bench.engine.term, vote=Vote.ABSTAINED, matched=False, last=at(2, 20), round=0)
    sent = bench.receive(near, bench.members[3])
    assert [message.prev for message in only(sent, AppendEntries)] == [at(2, 20)]
    assert only(sent, InstallSnapshot) == []


def test_chunks_may_come_in_any_order_and_count_once_all_are_there() -> None:
    """Figure 13, rules 2 to 5: create the file, write the chunks, wait for more until done."""
    bench = Bench(3, 2, 2)
    leader, giver = bench.voters[1:]
    snapshot = snapshot_at(bench, 2, 50)
    offer(bench, giver, snapshot)
    requests = asked(bench.receive(install(40), leader))
    fetch_all(bench, snapshot, {giver: requests[giver][:0:-1]})
    assert all(effects.restore is None for effects in bench.effects)
    fetch_all(bench, snapshot, {giver: requests[giver][:1]})
    assert [effects.restore for effects in bench.effects if effects.restore] == [snapshot]


def test_a_chunk_that_nobody_asked_for_is_dropped() -> None:
    """Not in the paper: a late or doubled chunk must not be stored in the next snapshot's place."""
    bench = Bench(3, 2, 2)
    bench.receive(FetchedChunk(digest=bytes(32), number=0, data=b"x"), bench.voters[2])
    assert all(effects.chunks == [] for effects in bench.effects)


def test_entries_behind_a_snapshot_that_agree_with_it_stay() -> None:
    """Raft paper, figure 13, rule 6: retain the entries that follow the snapshot's last one."""
    bench = Bench(3, *[2] * 9)
    bench.engine.ctx.commit_up_to(3)
    assert take_snapshot(bench, snapshot_at(bench, 2, 6))
    assert bench.engine.last == at(2, 10)
    assert bench.engine.ctx.log.base == at(2, 6)


def test_entries_that_disagree_with_a_snapshot_go() -> None:
    """Raft paper, figure 13, rule 7: discard the entire log."""
    bench = Bench(3, *[2] * 9)
    assert take_snapshot(bench, snapshot_at(bench, 3, 6))
    assert bench.engine.last == at(3, 6)
    assert bench.engine.term == 3


def test_what_was_compacted_agrees_with_every_leader() -> None:
    """A late duplicate that begins before our base must neither be refused nor overwrite anything."""
    bench = Bench(3, *[2] * 9)
    bench.engine.ctx.commit_up_to(8)
    bench.engine.ctx.compact(snapshot_at(bench, 2, 8), 0)
    bench.take()
    late = append(2, at(2, 4), entry(2, 5), entry(2, 6))
    [answer] = only(bench.receive(late, bench.voters[1]), AppendEntriesResponse)
    assert (answer.matched, answer.last) == (True, at(2, 6))
    assert bench.engine.last == at(2, 10)


def test_nothing_is_promised_before_the_snapshot_is_durable() -> None:
    bench = Bench(3, 2, 2)
    leader, giver = bench.voters[1:]
    snapshot = snapshot_at(bench, 2, 50)
    offer(bench, giver, snapshot)
    fetch_all(bench, snapshot, asked(bench.receive(install(40), leader)))
    bench.auto_persist = False
    bench.engine.install(snapshot, bench.now)
    assert only(bench.sent(), AppendEntriesResponse) == []
    write = bench.effects[-1].write
    assert write is not None
    bench.engine.persisted(write.serial, bench.now)
    assert len(only(bench.sent(), AppendEntriesResponse)) == 1


def test_a_snapshot_that_comes_too_late_changes_nothing() -> None:
    bench = Bench(3, *[2] * 9)
    bench.engine.ctx.commit_up_to(8)
    assert not bench.engine.install(snapshot_at(bench, 2, 6), bench.now)
    assert bench.engine.ctx.log.base == at(0, 0)


def test_a_log_remembers_its_voters_below_its_base() -> None:
    bench = Bench(3, *[2] * 9)
    held = bench.engine.ctx.log
    held.begin_behind(held.base_at(8))
    assert held.voters == tuple(bench.voters)
    past = held.past_at(10)
    assert past is not None
    assert past.genesis == bench.genesis
    assert held.last == at(2, 10)
    assert [e.index for e in held.between(9, 10)] == [9, 10]
    assert held.term_at(7) is None
    assert held.agreement(at(2, 9)) == at(2, 9)
    assert held.agreement(at(1, 10)).index == 7, "what such a log needs is below the base"
    assert log(bench.voters, *[2] * 9)[8:] == held.between(9, 10)
