"""Who becomes leader, and who does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from p2praft.raft.messages import PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, TimeoutNow
from p2praft.raft.types import Term, Vote
from tests.paper.cluster import Cluster
from tests.paper.support import win
from tests.raft.support import Bench, append, at, entry, only, request_vote


@pytest.mark.parametrize(
    ("members", "silent", "leads"),
    [(3, (), True), (3, (3,), True), (3, (2, 3), False), (4, (2, 3), False), (5, (2, 3), True), (5, (2, 3, 4), False)],
)
def test_a_majority_that_answers_elects(members: int, silent: tuple[int, ...], leads: bool) -> None:
    cluster = Cluster(members)
    cluster.isolate(*silent)
    cluster.campaign(1)
    assert cluster.engines[1].is_leader is leads
    assert cluster.engines[1].term == (2 if leads else 1), "a campaign without support does not raise the term"


def test_each_member_can_lead_in_its_turn() -> None:
    cluster = Cluster(3)
    for term, number in enumerate((1, 2, 3, 1), start=2):
        cluster.elect(number)
        assert cluster.leaders == [number]
        assert {engine.leader for engine in cluster.engines.values()} == {cluster.members[number]}
        assert {engine.term for engine in cluster.engines.values()} == {term}


def test_a_candidate_behind_the_others_loses_each_time_it_campaigns() -> None:
    cluster = Cluster({1: (2, 2), 2: (2,)}, term=2)
    for _ in range(3):
        cluster.campaign(2)
        assert cluster.leaders == []
    cluster.elect(1)
    assert cluster.terms(2) == [2, 2, 3]


@pytest.mark.parametrize("longer", [{2: (2, 2), 3: (2, 2)}, {2: (3,), 3: (3,)}], ids=["longer", "newer"])
def test_of_five_three_better_logs_keep_a_candidate_from_winning(longer: Mapping[int, Sequence[int]]) -> None:
    cluster = Cluster({1: (2,), **longer, 4: (3, 3), 5: (2,)}, term=3)
    cluster.campaign(1)
    assert cluster.engines[1].role.name == "candidate"
    assert cluster.leaders == []


def test_a_newer_entry_that_only_a_minority_holds_is_overwritten() -> None:
    """1 led term 2 and reached 2; then 3 led term 3, with the votes of 4 and 5, and reached nobody."""
    cluster = Cluster({1: (2,), 2: (2,), 3: (3,), 4: (), 5: ()}, term=3)
    cluster.elect(1)
    cluster.run(0.3)
    assert {tuple(cluster.terms(number)) for number in range(1, 6)} == {(2, 4)}


def test_the_member_with_the_newer_entry_may_win_just_as_well() -> None:
    cluster = Cluster({1: (2,), 2: (2,), 3: (3,), 4: (), 5: ()}, term=3)
    cluster.elect(3)
    cluster.run(0.3)
    assert {tuple(cluster.terms(number)) for number in range(1, 6)} == {(3, 4)}


@pytest.mark.parametrize("role", ["follower", "pre-candidate", "candidate", "leader"])
def test_a_vote_in_a_newer_term_is_given_in_any_role(role: str) -> None:
    bench = Bench(3, 2)
    if role == "pre-candidate":
        bench.time_out()
    if role == "candidate":
        bench.campaign()
    if role == "leader":
        bench.lead()
    [answer] = only(bench.receive(request_vote(9, at(8, 9)), bench.voters[2]), RequestVoteResponse)
    assert (answer.term, answer.supports) == (9, True)
    assert (bench.engine.role.name, bench.engine.term) == ("follower", 9)
    assert bench.engine.ctx.state.vote == bench.voters[2]


def test_of_two_candidates_the_one_with_the_majority_leads_and_the_other_follows() -> None:
    cluster = Cluster(3)
    cluster.cuts.add(frozenset((1, 3)))
    cluster.time_out(1)
    cluster.time_out(3)
    cluster.deliver()
    cluster.run(2)
    assert len(cluster.leaders) == 1
    cluster.heal()
    cluster.run(3)
    [leader] = cluster.leaders
    assert {engine.leader for engine in cluster.engines.values()} == {cluster.members[leader]}


def test_a_candidate_that_lost_concedes_and_its_entry_goes() -> None:
    """It led an earlier term, alone, and holds an entry that nobody else ever saw."""
    cluster = Cluster({1: (2,), 2: (), 3: ()}, term=2)
    cluster.isolate(1)
    cluster.elect(3)
    cluster.campaign(1)
    assert cluster.engines[1].role.name == "candidate"
    cluster.propose(3)
    cluster.deliver()
    cluster.heal()
    cluster.run(0.5)
    assert cluster.engines[1].leader == cluster.members[3]
    assert cluster.terms(1) == cluster.terms(3) == [3, 3]


def test_a_sole_voter_elects_itself() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    assert cluster.engines[1].commit == 2


def test_a_sole_voter_leads_whoever_else_watches() -> None:
    cluster = Cluster(3, voters=1, observers=(2, 3))
    cluster.elect(1)
    cluster.run(0.3)
    assert cluster.terms(2) == cluster.terms(3) == [2]


@pytest.mark.parametrize("role", ["pre-candidate", "candidate"])
def test_a_heartbeat_of_the_leader_ends_a_candidacy(role: str) -> None:
    bench = Bench(3, 2)
    if role == "candidate":
        bench.campaign()
    else:
        bench.time_out()
    bench.receive(append(bench.engine.term, at(2, 2)), bench.voters[2])
    assert (bench.engine.role.name, bench.engine.leader) == ("follower", bench.voters[2])


def test_a_leader_does_not_campaign() -> None:
    bench = Bench(3, 2)
    bench.lead()
    sent = bench.receive(TimeoutNow(term=bench.engine.term), bench.voters[1])
    sent += [message for _ in range(5) for message in (*bench.advance(0.5), *bench.acknowledge(bench.voters[1]))]
    assert only(sent, PreVote) == []
    assert only(sent, RequestVote) == []
    assert bench.engine.is_leader


def test_an_answer_that_comes_after_the_election_changes_nothing() -> None:
    bench = Bench(3, 2)
    win(bench, bench.voters[1])
    before = bench.engine.last
    for vote, supports in ((Vote.GRANTED, True), (Vote.DENIED, False)):
        bench.receive(RequestVoteResponse(term=Term(3), vote=vote, supports=supports), bench.voters[2])
    assert (bench.engine.is_leader, bench.engine.last) == (True, before)


def test_an_answer_counts_once_however_often_it_comes() -> None:
    bench = Bench(5, 2)
    bench.campaign()
    for _ in range(5):
        bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert bench.engine.role.name == "candidate"


def test_an_answer_to_the_pre_vote_is_no_vote() -> None:
    """A pre-vote that comes late, in the campaign that it led to, must not count as a vote in it."""
    bench = Bench(5, 2)
    bench.campaign()
    for voter in bench.voters[1:]:
        bench.receive(PreVoteResponse(term=bench.engine.term, vote=Vote.GRANTED, supports=True), voter)
    assert (bench.candidate.pre, bench.engine.role.name) == (False, "candidate")


def test_the_own_vote_counts_only_once_it_is_durable() -> None:
    """One answer comes before our own disk does: then it is not yet a majority of three."""
    bench = Bench(3, 2)
    bench.time_out()
    bench.auto_persist = False
    bench.receive(PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True), bench.voters[1])
    write = bench.effects[-1].write
    assert write is not None
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert bench.engine.role.name == "candidate"
    bench.engine.persisted(write.serial, bench.now)
    assert bench.engine.role.name == "leader"


def test_a_candidate_with_a_newer_log_than_the_stale_leader_takes_over() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.elect(2)
    cluster.propose(1)
    cluster.deliver()
    assert cluster.terms(1) == [2, 2]
    cluster.heal()
    cluster.run(0.5)
    assert cluster.leaders == [2]
    assert cluster.terms(1) == [2, 3]


def test_a_stored_entry_does_not_make_a_term() -> None:
    """The term comes from the durable state, also if the newest entry is of an earlier one."""
    bench = Bench(3, 2, term=7)
    bench.campaign()
    assert bench.engine.term == 8
    bench.receive(append(8, at(2, 2), entry(8, 3)), bench.voters[1])
    assert bench.engine.last == at(8, 3)
