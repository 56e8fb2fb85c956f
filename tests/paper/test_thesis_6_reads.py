"""Thesis, sections 6.2 (a leader without a quorum) and 6.4 (read index)."""

from __future__ import annotations

from p2praft.raft.messages import AppendEntries, ReadIndex, ReadIndexResponse
from p2praft.raft.types import Index
from tests.paper.cluster import Cluster
from tests.paper.support import holds, propose, readable, win
from tests.raft.support import Bench, at, only


def test_a_leader_that_no_majority_answers_for_an_election_timeout_steps_down() -> None:
    """Thesis 6.2: so that clients turn to a leader that can serve them."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.run(0.8)
    assert 1 in cluster.leaders
    cluster.run(0.5)
    assert 1 not in cluster.leaders
    assert cluster.engines[1].leader is None


def test_1_a_leader_serves_no_read_before_it_has_committed_in_its_term() -> None:
    """Thesis 6.4, step 1: until then it does not know which entries are committed."""
    bench = Bench(3, 2)
    win(bench, bench.voters[1])
    assert bench.engine.read(1)
    bench.take()
    rounds = only(bench.advance(0.2), AppendEntries)
    bench.receive(holds(bench, at(2, 2), round_number=rounds[-1].round), bench.voters[1])
    assert readable(bench) == {}
    bench.receive(holds(bench, at(3, 3)), bench.voters[1])
    bench.acknowledge(bench.voters[1])
    assert readable(bench) == {1: 3}


def test_2_a_read_is_served_at_the_commit_index_of_its_beginning() -> None:
    """Thesis 6.4, step 2: readIndex is the commit index when the request came; what commits later need not be waited for."""
    bench = Bench(3, 2)
    bench.lead()
    assert bench.engine.read(1)
    [asked, _] = only(bench.sent(), AppendEntries)
    propose(bench)
    bench.receive(holds(bench, bench.engine.last, round_number=asked.round), bench.voters[1])
    assert bench.engine.commit == 4
    assert readable(bench) == {1: 3}


def test_3_a_round_that_began_before_the_read_does_not_confirm_it() -> None:
    """Thesis 6.4, step 3: the leader issues a new round of heartbeats and waits for acknowledgements of that one."""
    bench = Bench(3, 2)
    bench.lead()
    before = only(bench.advance(0.1), AppendEntries)[-1].round
    assert bench.engine.read(1)
    [asked, _] = only(bench.sent(), AppendEntries)
    assert asked.round > before
    bench.receive(holds(bench, at(3, 3), round_number=before), bench.voters[1])
    assert readable(bench) == {}
    bench.receive(holds(bench, at(3, 3), round_number=asked.round), bench.voters[1])
    assert readable(bench) == {1: 3}


def test_3_a_later_round_confirms_a_read_too() -> None:
    """Thesis 6.4, step 3: whoever acknowledges a later round still followed us when ours began."""
    bench = Bench(3, 2)
    bench.lead()
    assert bench.engine.read(1)
    bench.take()
    later = only(bench.advance(0.2), AppendEntries)[-1].round
    bench.receive(holds(bench, at(3, 3), round_number=later), bench.voters[1])
    assert readable(bench) == {1: 3}


def test_3_a_majority_must_confirm() -> None:
    """Thesis 6.4, step 3: one answer of four is not enough, however often it comes."""
    bench = Bench(5, 2)
    bench.lead()
    assert bench.engine.read(1)
    asked = only(bench.sent(), AppendEntries)[0]
    for _ in range(3):
        bench.receive(holds(bench, at(3, 3), round_number=asked.round), bench.voters[1])
    assert readable(bench) == {}
    bench.receive(holds(bench, at(3, 3), round_number=asked.round), bench.voters[2])
    assert readable(bench) == {1: 3}


def test_many_reads_share_one_round() -> None:
    """Thesis 6.4: the leader can use a single round for any number of read-only queries that it has accumulated."""
    bench = Bench(3, 2)
    bench.lead()
    for request in range(100):
        assert bench.engine.read(request)
    asked = only(bench.sent(), AppendEntries)
    assert len(asked) == 2
    bench.receive(holds(bench, at(3, 3), round_number=asked[0].round), bench.voters[1])
    assert readable(bench) == dict.fromkeys(range(100), 3)


def test_a_follower_asks_the_leader_for_the_index_and_serves_the_read_itself() -> None:
    """Thesis 6.4: followers can help: they ask for a readIndex, the leader does steps 1 to 3."""
    cluster = Cluster(3)
    cluster.elect(1)
    assert cluster.engines[3].read(7)
    cluster.perform(3)
    cluster.deliver()
    assert cluster.readable[3] == {7: 2}


def test_a_single_voter_confirms_its_reads_alone() -> None:
    """Thesis 6.4: it is its own majority."""
    cluster = Cluster(1)
    cluster.elect(1)
    assert cluster.engines[1].read(7)
    cluster.perform(1)
    assert cluster.readable[1] == {7: 2}


def test_who_does_not_lead_says_so() -> None:
    """Thesis 6.4: the read must be asked again of the leader."""
    bench = Bench(3, 2)
    assert bench.receive(ReadIndex(request=4), bench.voters[1]) == [
        (bench.voters[1], ReadIndexResponse(request=4, index=Index(0)))
    ]
