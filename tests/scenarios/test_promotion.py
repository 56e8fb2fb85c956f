"""A voter that has not yet heard of its own promotion, and voters that have heard of different sets."""

from __future__ import annotations

import pytest

from p2praft import LeadershipPreference
from p2praft.raft.entries import Configuration
from p2praft.raft.messages import AppendEntries, Message, RequestVoteResponse
from p2praft.raft.types import Cursor, Vote
from tests.paper.cluster import PATIENT, Cluster
from tests.raft.support import Bench, append, at, entry, only, request_vote


def promoted_but_unaware() -> Cluster:
    """Voters 1 and 2; 1 adds 3, which 2 hears of and 3 does not; then 1 dies."""
    cluster = Cluster(3, voters=2, config=PATIENT)

    def lost(_sender: int, to: int, message: Message) -> bool:
        entries = message.entries if isinstance(message, AppendEntries) else ()
        return to == 3 and any(isinstance(each.payload, Configuration) for each in entries)

    cluster.lost = lost
    cluster.elect(1)
    cluster.run(1)
    assert (cluster.voters(1), cluster.voters(2), cluster.voters(3)) == ([1, 2, 3], [1, 2, 3], [1, 2])
    return cluster


def test_it_must_vote_or_nobody_can_be_elected() -> None:
    cluster = promoted_but_unaware()
    assert cluster.engines[1].commit == 3, "1 and 2 are a majority of three"
    cluster.crash(1)
    cluster.heal()
    cluster.elect(2)
    assert cluster.voters(3) == [1, 2, 3]


def test_it_does_not_campaign_before_it_knows() -> None:
    cluster = promoted_but_unaware()
    cluster.crash(1)
    cluster.crash(2)
    cluster.run(10)
    assert (cluster.engines[3].role.name, cluster.engines[3].term) == ("follower", 2)


def test_it_campaigns_as_soon_as_it_knows() -> None:
    bench = Bench(3, 2)
    without = Configuration(voters=tuple(bench.voters[1:]))
    bench.receive(append(2, at(2, 2), entry(2, 3, without), commit=3), bench.voters[1])
    bench.advance(5)
    assert bench.engine.role.name == "follower"
    again = Configuration(voters=tuple(bench.voters))
    bench.receive(append(2, at(2, 3), entry(2, 4, again)), bench.voters[1])
    bench.advance(2)
    assert bench.engine.role.name == "candidate"


@pytest.mark.parametrize("last", [at(2, 3), at(2, 9)], ids=["equal", "ahead"])
def test_it_saves_the_vote_that_it_gives(last: Cursor) -> None:
    bench = Bench(3, 2)
    without = Configuration(voters=tuple(bench.voters[1:]))
    bench.receive(append(2, at(2, 2), entry(2, 3, without)), bench.voters[1])
    request = request_vote(5, last)
    [answer] = only(bench.receive(request, bench.voters[2]), RequestVoteResponse)
    assert answer.supports
    assert bench.engine.ctx.state.vote == bench.voters[2]
    [answer] = only(bench.receive(request, bench.voters[1]), RequestVoteResponse)
    assert answer.vote is Vote.DENIED


def test_an_observer_does_not_vote_whatever_the_set_says() -> None:
    """Ours: a voter that was started as an observer keeps out of every quorum until it is removed from the set."""
    bench = Bench(3, 2, preference=LeadershipPreference.OBSERVER)
    assert bench.me in bench.engine.voters
    [answer] = only(bench.receive(request_vote(5, at(2, 2)), bench.voters[2]), RequestVoteResponse)
    assert (answer.vote, answer.supports) == (Vote.ABSTAINED, False)
    assert bench.engine.ctx.state.vote is None


def test_a_member_that_has_not_heard_of_its_removal_may_still_lead() -> None:
    """Its log lacks the change, so the change is not committed if it wins; then it never was one."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.run(0.3)

    def lost(_sender: int, to: int, message: Message) -> bool:
        return isinstance(message, AppendEntries) and bool(message.entries)

    cluster.lost = lost
    cluster.engines[3].leave()
    cluster.perform(3)
    cluster.deliver()
    cluster.run(0.3)
    assert (cluster.voters(1), cluster.voters(3)) == ([1, 2], [1, 2, 3])
    cluster.crash(1)
    cluster.heal()
    cluster.elect(3)
    assert cluster.voters(2) == [1, 2, 3]
