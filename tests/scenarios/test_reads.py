"""Strong reads by the read index, asked of anybody."""

from __future__ import annotations

import pytest

from p2praft.raft import reads
from p2praft.raft.messages import AppendEntries, ReadIndex, ReadIndexResponse
from p2praft.raft.types import Index
from tests.paper.cluster import Cluster
from tests.paper.support import holds, lacks, readable, win
from tests.raft.support import Bench, append, at, only


def read(cluster: Cluster, number: int, request: int = 7) -> None:
    """Have a member ask for an index, and see what comes of it."""
    assert cluster.engines[number].read(request)
    cluster.perform(number)
    cluster.deliver()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_member_can_ask_observers_too(number: int) -> None:
    cluster = Cluster(4, voters=3, observers=(4,))
    cluster.elect(1)
    for index in (3, 4):
        cluster.propose(1)
        cluster.deliver()
        read(cluster, number, request=index)
        assert cluster.readable[number][index] == index


def test_a_read_sees_what_was_committed_before_it_was_asked() -> None:
    """Whoever asks: the index is at least that of any entry that was committed by then."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1)
    cluster.deliver()
    cluster.heal()
    assert cluster.engines[3].commit < 3
    read(cluster, 3)
    assert cluster.readable[3] == {7: 3}, "it has to wait until it has applied 3"


def test_a_leader_that_cannot_reach_a_majority_serves_no_read() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(3, 4, 5)
    read(cluster, 1)
    read(cluster, 2)
    assert cluster.readable[1] == cluster.readable[2] == {}


def test_reads_that_wait_are_told_to_ask_again_once_the_leader_resigns() -> None:
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.isolate(3, 4, 5)
    read(cluster, 1)
    read(cluster, 2)
    cluster.run(1.5)
    assert cluster.readable[1] == cluster.readable[2] == {7: 0}


def test_a_read_that_was_asked_of_a_new_leader_waits_for_its_first_commit() -> None:
    cluster = Cluster({1: (2, 2), 2: (2, 2), 3: (2, 2)}, term=2)
    cluster.lost = lambda _sender, _to, message: isinstance(message, AppendEntries)
    cluster.elect(1)
    read(cluster, 1)
    assert cluster.readable[1] == {}
    cluster.heal()
    cluster.run(0.2)
    assert cluster.readable[1] == {7: 4}


def test_reads_are_served_although_the_commit_is_old() -> None:
    """Nothing was proposed for long; a new round is all it takes."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(5)
    read(cluster, 2)
    assert cluster.readable[2] == {7: 2}


def test_a_round_whose_answers_are_lost_is_made_up_for_by_the_next_heartbeat() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    read(cluster, 1)
    assert cluster.readable[1] == {}
    cluster.heal()
    cluster.run(0.15)
    assert cluster.readable[1] == {7: 2}


def test_nothing_is_kept_of_reads_that_were_answered() -> None:
    bench = Bench(3, 2)
    bench.lead()
    for request in range(50):
        assert bench.engine.read(request)
        bench.take()
    bench.acknowledge(bench.voters[1])
    assert len(readable(bench)) == 50
    assert (bench.leader.reads.waiting, list(bench.leader.reads._rounds)) == ([], [])


def test_rounds_are_answered_in_their_order_and_not_beyond_what_was_confirmed() -> None:
    bench = Bench(3, 2)
    bench.lead()
    rounds = []
    for request in (1, 2, 3):
        assert bench.engine.read(request)
        rounds.append(only(bench.sent(), AppendEntries)[0].round)
    assert rounds == sorted(set(rounds))
    bench.receive(holds(bench, at(3, 3), round_number=rounds[1]), bench.voters[1])
    assert sorted(readable(bench)) == [1, 2]
    bench.receive(holds(bench, at(3, 3), round_number=rounds[2]), bench.voters[2])
    assert sorted(readable(bench)) == [1, 2, 3]


def test_observers_confirm_nothing() -> None:
    bench = Bench(3, 2, observers=4)
    bench.lead()
    assert bench.engine.read(1)
    bench.take()
    for observer in bench.members[3:]:
        bench.receive(holds(bench, at(3, 3), round_number=99), observer)
    assert readable(bench) == {}


def test_a_refusal_confirms_nothing() -> None:
    """Ours: it abstains. A later heartbeat, which it accepts, confirms."""
    bench = Bench(3, 2)
    win(bench, bench.voters[1])
    bench.acknowledge(bench.voters[1])
    assert bench.engine.read(1)
    asked = only(bench.sent(), AppendEntries)[0]
    bench.receive(lacks(bench, at(1, 1)), bench.voters[2])
    assert readable(bench) == {}
    bench.receive(holds(bench, at(3, 3), round_number=asked.round), bench.voters[2])
    assert readable(bench) == {1: 3}


def test_more_reads_than_may_wait_are_told_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_READS", 3)
    bench = Bench(3, 2)
    bench.lead()
    for request in range(5):
        assert bench.engine.read(request)
    bench.take()
    assert readable(bench) == {3: 0, 4: 0}


def test_a_read_of_another_history_is_told_to_ask_again() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = bench.receive(ReadIndex(request=4), bench.voters[1], history=b"x" * 16)
    assert only(sent, ReadIndexResponse) == [ReadIndexResponse(request=4, index=Index(0))]


def test_reads_of_followers_are_told_to_ask_again_when_a_newer_leader_appears() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.receive(ReadIndex(request=4), bench.voters[1])
    sent = bench.receive(append(9, at(3, 3)), bench.voters[2])
    assert only(sent, ReadIndexResponse) == [ReadIndexResponse(request=4, index=Index(0))]
