"""A long message on a slow link holds up heartbeats and answers: while it moves, nobody is thought to be away."""

from __future__ import annotations

from p2praft.raft.entries import Commands
from p2praft.raft.messages import AppendEntries, PreVote
from tests.raft.support import CONFIG, Bench, append, at, only

LONG = Commands(session=1, first=1, settled=0, commands=(b"x" * 100_000,))


def following() -> Bench:
    """A follower that has just heard its leader, member 2."""
    bench = Bench(3)
    bench.receive(append(1, at(1, 1)), bench.members[1])
    return bench


def test_a_follower_does_not_campaign_while_the_leader_is_sending_something_long() -> None:
    bench = following()
    for _ in range(5):
        bench.now = bench.engine.role.deadline
        bench.engine.sign_of_life(bench.members[1], bench.now, receiving=True)
        bench.engine.tick(bench.now)
        assert not only(bench.sent(), PreVote)
    assert bench.follower.leader_is_fresh(bench.engine.ctx)
    assert only(bench.time_out(), PreVote), "it stopped coming"


def test_that_a_leader_is_there_but_sends_nothing_does_not_keep_it_in_office() -> None:
    bench = following()
    bench.now = bench.engine.role.deadline
    bench.engine.sign_of_life(bench.members[1], bench.now, receiving=False)
    bench.engine.sign_of_life(bench.members[2], bench.now, receiving=True)
    bench.engine.tick(bench.now)
    assert only(bench.sent(), PreVote)


def lead_for(bench: Bench, seconds: float, *, receiving: bool) -> None:
    """Let time pass without an answer, but with the others' packets coming in."""
    end = bench.now + seconds
    while bench.now < end and bench.engine.is_leader:
        for other in bench.members[1:]:
            bench.engine.sign_of_life(other, bench.now, receiving=receiving)
        bench.advance(CONFIG.heartbeat_interval)


def test_a_leader_whose_entries_are_under_way_does_not_resign() -> None:
    bench = Bench(3)
    bench.lead()
    assert bench.engine.propose(1, LONG)
    assert only(bench.sent(), AppendEntries)
    lead_for(bench, 5 * CONFIG.election_timeout, receiving=False)
    assert bench.engine.is_leader
    bench.acknowledge(*bench.members[1:])
    assert bench.engine.commit == bench.engine.last.index


def test_a_leader_to_whom_something_long_is_sent_does_not_resign() -> None:
    bench = Bench(3)
    bench.lead()
    lead_for(bench, 5 * CONFIG.election_timeout, receiving=True)
    assert bench.engine.is_leader


def test_a_leader_that_is_owed_nothing_resigns_when_nobody_answers() -> None:
    """Packets alone are no answers: the others may follow somebody else."""
    bench = Bench(3)
    bench.lead()
    lead_for(bench, 5 * CONFIG.election_timeout, receiving=False)
    assert not bench.engine.is_leader
