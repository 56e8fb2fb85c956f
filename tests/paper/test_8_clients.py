"""Section 8: how clients reach the leader, and what a read must wait for."""

from __future__ import annotations

from p2praft.raft.entries import Commands, LogEntry, NoOp, OpenSession
from p2praft.raft.messages import AppendEntries, Propose, ProposeResponse
from p2praft.raft.sessions import SessionTable, Verdict
from tests.paper.cluster import Cluster
from tests.paper.support import SESSION, accepted, entries_of, holds, readable, win
from tests.raft.support import Bench, at, entry, only


def opened(table: SessionTable, index: int = 5) -> int:
    """A session that an entry at ``index`` opens."""
    like = entry(2, index)
    payload = OpenSession(nonce=bytes(16))
    return table.open(LogEntry(term=like.term, index=like.index, time=0.0, proposer=like.proposer, payload=payload))


def commands(session: int, first: int, count: int = 1) -> Commands:
    """Commands of a session."""
    return Commands(session=session, first=first, settled=0, commands=(b"x",) * count)


def test_a_follower_hands_a_command_to_the_leader_it_knows() -> None:
    """Section 8: a server that does not lead supplies the leader it has heard from; ours forwards the command itself."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(3)
    [(_, outgoing)] = cluster.wire
    assert (outgoing.to, outgoing.message) == (cluster.members[1], Propose(request=1, payload=SESSION))
    cluster.deliver()
    assert cluster.applied[3][-1].proposer == cluster.members[3].peer_id


def test_without_a_leader_a_command_is_not_taken() -> None:
    """Section 8: the client has to try again with somebody else."""
    bench = Bench(3, 2)
    assert not bench.engine.propose(1, SESSION)
    assert not bench.engine.read(1)


def test_who_does_not_lead_refuses_a_forwarded_command() -> None:
    """Section 8: if the leader was another, the request is rejected, and the client asks again."""
    bench = Bench(3, 2)
    [answer] = only(bench.receive(Propose(request=4, payload=SESSION), bench.voters[1]), ProposeResponse)
    assert (answer.request, answer.index) == (4, 0)


def test_a_command_that_is_sent_twice_is_executed_once() -> None:
    """Section 8: commands carry serial numbers; a serial number that was executed is answered without executing."""
    table = SessionTable()
    session = opened(table)
    assert table.judge(commands(session, 1)) is Verdict.APPLY
    table.record(commands(session, 1), [(True, b"done")], time=1.0)
    assert table.judge(commands(session, 1)) is Verdict.REPEAT
    assert table.outcomes(session) == ((1, True, b"done"),)
    assert table.judge(commands(session, 2)) is Verdict.APPLY


def test_serial_numbers_of_one_client_take_effect_in_their_order() -> None:
    """Section 8 and thesis, section 6.3: ours refuses a gap, and an unknown session altogether."""
    table = SessionTable()
    session = opened(table)
    assert table.judge(commands(session, 2)) is Verdict.GAP
    assert table.judge(commands(session + 1, 1)) is Verdict.EXPIRED


def test_a_leader_opens_its_term_with_a_no_op() -> None:
    """Section 8: it commits a blank no-op entry at the start of its term, to learn what is committed."""
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1])
    assert (entries_of(bench)[-1].term, entries_of(bench)[-1].payload) == (3, NoOp())
    assert bench.engine.commit == 0
    bench.receive(holds(bench, at(3, 4)), bench.voters[1])
    assert bench.engine.commit == 4


def test_a_read_waits_until_the_leader_knows_what_is_committed() -> None:
    """Section 8: a read-only request needs the latest information on which entries are committed."""
    bench = Bench(3, 2)
    win(bench, bench.voters[1])
    assert bench.engine.read(1)
    bench.take()
    bench.receive(holds(bench, at(2, 2), round_number=9), bench.voters[1])
    assert readable(bench) == {}


def test_a_read_waits_until_a_majority_has_answered_a_heartbeat() -> None:
    """Section 8: the leader exchanges heartbeats with a majority before it responds, for it may have been deposed."""
    bench = Bench(5, 2)
    bench.lead()
    assert bench.engine.read(1)
    asked = only(bench.sent(), AppendEntries)
    assert len(asked) == 4
    for voter, answered in ((1, {}), (2, {1: 3})):
        bench.receive(holds(bench, at(3, 3), round_number=asked[0].round), bench.voters[voter])
        assert readable(bench) == answered


def test_a_deposed_leader_answers_no_read() -> None:
    """Section 8: linearizability; a leader that was replaced without knowing must not return stale data."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2)
    cluster.propose(2)
    cluster.deliver()
    assert cluster.engines[1].is_leader
    assert cluster.engines[1].read(7)
    cluster.perform(1)
    cluster.deliver()
    assert cluster.readable[1] == {}
    cluster.heal()
    cluster.run(0.3)
    assert cluster.readable[1] == {7: 0}, "it must ask again"


def test_a_read_adds_nothing_to_the_log() -> None:
    """Section 8: read-only operations can be handled without writing anything into the log."""
    cluster = Cluster(3)
    cluster.elect(1)
    before = cluster.engines[1].last
    assert cluster.engines[1].read(7)
    cluster.perform(1)
    cluster.deliver()
    assert cluster.readable[1] == {7: before.index}
    assert cluster.engines[1].last == before


def test_a_leader_says_where_it_put_a_command() -> None:
    """Section 8 and figure 2: the client learns of its own command through the log, at that index."""
    bench = Bench(3, 2)
    bench.lead()
    for request in (1, 2, 3):
        bench.engine.propose(request, SESSION)
    bench.take()
    assert accepted(bench) == {1: 4, 2: 5, 3: 6}
