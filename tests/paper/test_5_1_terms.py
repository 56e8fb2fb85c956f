"""Section 5.1: terms are a logical clock; at most one leader in each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2praft.raft.messages import AppendEntries, Message, RequestVote, RequestVoteResponse, TimeoutNow
from p2praft.raft.types import Term, Vote
from tests.paper.cluster import Cluster
from tests.paper.support import holds, propose
from tests.raft.support import Bench, append, at, entry, only, pre_vote, request_vote


def test_a_member_begins_as_a_follower() -> None:
    """Section 5.1 and 5.2: servers start as followers, after a crash too."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(1)
    cluster.restart(1)
    assert cluster.engines[1].role.name == "follower"


def test_terms_travel_with_every_message() -> None:
    """Section 5.1: current terms are exchanged whenever servers communicate; the larger one is taken over."""
    bench = Bench(3, 2)
    messages: list[Message] = [append(5, at(2, 2)), request_vote(6, at(1, 1)), pre_vote(7, at(1, 1))]
    for term, message in enumerate(messages, start=5):
        bench.receive(message, bench.voters[1])
        assert bench.engine.term == term


def test_a_stale_leader_steps_down_when_it_hears_of_a_newer_term() -> None:
    """Section 5.1: a leader that discovers that its term is out of date reverts to follower."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2)
    assert cluster.leaders == [1, 2]
    cluster.heal()
    cluster.run(0.3)
    assert cluster.leaders == [2]
    assert cluster.engines[1].leader == cluster.members[2]


def test_a_stale_candidate_steps_down_when_it_hears_of_a_newer_term() -> None:
    """Section 5.1: a candidate that discovers that its term is out of date reverts to follower."""
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(8), vote=Vote.DENIED, supports=False), bench.voters[1])
    assert (bench.engine.role.name, bench.engine.term) == ("follower", 8)


STALE: list[Message] = [
    request_vote(4, at(4, 9)),
    pre_vote(4, at(4, 9)),
    append(4, at(2, 2), entry(4, 3), commit=3),
    TimeoutNow(term=Term(4)),
    RequestVoteResponse(term=Term(4), vote=Vote.GRANTED, supports=True),
]


@pytest.mark.parametrize("message", STALE, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("role", ["follower", "candidate"])
def test_a_stale_message_changes_nothing(role: str, message: Message) -> None:
    """Section 5.1: a server rejects a request with a stale term number."""
    bench = Bench(3, 2, term=5)
    if role == "candidate":
        bench.campaign()
    before = bench.engine.ctx.state, bench.engine.last, bench.engine.commit, bench.engine.role
    terms = [answer.term for _, answer in bench.receive(message, bench.voters[1])]
    assert terms == ([bench.engine.term] if isinstance(message, AppendEntries) else [])
    assert (bench.engine.ctx.state, bench.engine.last, bench.engine.commit, bench.engine.role) == before


def test_a_stale_acknowledgement_commits_nothing() -> None:
    """Section 5.1: an answer from an earlier term says nothing about this one's log."""
    bench = Bench(3, 2)
    bench.lead()
    propose(bench)
    for voter in bench.voters[1:]:
        bench.receive(replace(holds(bench, bench.engine.last), term=Term(2)), voter)
    assert bench.engine.commit == 3
    bench.receive(holds(bench, bench.engine.last), bench.voters[1])
    assert bench.engine.commit == 4


def test_a_term_has_one_leader_whatever_the_timers_do() -> None:
    """Section 5.1 and 5.2: at most one leader can be elected in a given term (Election Safety)."""
    cluster = Cluster(5)
    led: dict[int, int] = {}
    for number in (1, 2, 3, 4, 5, 1, 3):
        cluster.isolate(*(led[term] for term in list(led)[-1:]))
        cluster.campaign(number)
        for leader in cluster.leaders:
            assert led.setdefault(cluster.engines[leader].term, leader) == leader
        cluster.heal()
        cluster.run(0.3)
    assert len(led) >= 5


def test_a_leader_and_a_candidate_speak_in_their_present_term() -> None:
    """Section 5.1: each server stores a current term number and sends it along."""
    bench = Bench(3, 2)
    bench.campaign()
    assert {message.term for message in only(bench.history(), RequestVote)} == {3}
    bench.lead()
    assert {message.term for message in only(bench.history(), AppendEntries)} == {bench.engine.term}
