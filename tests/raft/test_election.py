"""Elections: timers, pre-vote, candidates (Raft paper, section 5.2; thesis, section 9.6)."""

from __future__ import annotations

from p2praft import LeadershipPreference
from p2praft.raft.candidate import Candidate
from p2praft.raft.entries import NoOp
from p2praft.raft.follower import Follower
from p2praft.raft.leader import Leader
from p2praft.raft.messages import PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, TimeoutNow
from p2praft.raft.types import Term, Vote
from tests.raft.support import Bench, append, at, only, pre_vote


def pre_vote_answer(bench: Bench, term: int, last: object, sender: int = 1) -> PreVoteResponse:
    (answer,) = only(bench.receive(pre_vote(term, last), bench.voters[sender]), PreVoteResponse)  # type: ignore[arg-type]
    return answer


def test_a_follower_asks_first_and_its_term_stays() -> None:
    bench = Bench(3, 2)
    sent = bench.time_out()
    assert [message.last for message in only(sent, PreVote)] == [at(2, 2)] * 2
    assert bench.candidate.pre
    assert bench.engine.term == 2


def test_with_a_majority_for_it_the_campaign_begins_with_its_own_vote_saved() -> None:
    bench = Bench(3, 2)
    bench.time_out()
    sent = bench.receive(PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert [message.term for message in only(sent, RequestVote)] == [3, 3]
    assert bench.engine.ctx.state.vote == bench.me


def test_no_request_leaves_before_the_own_vote_is_durable() -> None:
    bench = Bench(3, 2, auto_persist=False)
    bench.time_out()
    sent = bench.receive(PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert only(sent, RequestVote) == []
    write = bench.effects[-1].write
    assert write is not None
    bench.engine.persisted(write.serial, bench.now)
    assert len(only(bench.sent(), RequestVote)) == 2


def test_a_single_voter_elects_itself_once_its_vote_is_durable() -> None:
    bench = Bench(1, 2, auto_persist=False)
    bench.time_out()
    assert bench.engine.role.name == "candidate"
    write = bench.effects[-1].write
    assert write is not None
    bench.engine.persisted(write.serial, bench.now)
    assert bench.engine.role.name == "leader"


def test_a_candidate_with_a_majority_leads_and_opens_its_term() -> None:
    """Raft paper, section 8: a no-op at the start of each term."""
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert isinstance(bench.engine.role, Leader)
    assert bench.engine.last == at(3, 3)
    (last,) = bench.engine.ctx.log.slice(3, 3, 1)
    assert last.payload == NoOp()


def test_the_recorded_abstention_of_a_lagging_voter_elects() -> None:
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.ABSTAINED, supports=True), bench.voters[1])
    assert isinstance(bench.engine.role, Leader)


def test_only_grants_start_the_list_of_members_in_sync() -> None:
    bench = Bench(5, 2)
    bench.campaign()
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.ABSTAINED, supports=True), bench.voters[1])
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[2])
    progress = bench.leader.replication.progress
    assert (progress[bench.voters[2]].match, progress[bench.voters[2]].probing) == (2, False)
    assert (progress[bench.voters[1]].match, progress[bench.voters[1]].probing) == (0, True)


def test_denials_do_not_elect_and_the_candidate_starts_over_in_the_pre_vote() -> None:
    bench = Bench(3, 2)
    bench.campaign()
    for voter in bench.voters[1:]:
        bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.DENIED, supports=False), voter)
    assert isinstance(bench.engine.role, Candidate)
    assert len(only(bench.time_out(), PreVote)) == 2
    assert bench.engine.term == 3


def test_a_pre_vote_is_denied_while_a_leader_is_heard() -> None:
    """Raft paper, end of section 6: a member that was cut off must not disturb the others."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    assert pre_vote_answer(bench, 2, at(2, 2), sender=2).vote is Vote.DENIED
    bench.advance(0.5)
    assert pre_vote_answer(bench, 2, at(2, 2), sender=2).vote is Vote.DENIED
    bench.now += 0.6
    assert pre_vote_answer(bench, 2, at(2, 2), sender=2).vote is Vote.GRANTED


def test_a_pre_vote_is_denied_by_the_leader() -> None:
    bench = Bench(3, 2)
    bench.lead()
    assert pre_vote_answer(bench, 3, at(9, 9)).vote is Vote.DENIED


def test_a_pre_vote_saves_nothing() -> None:
    bench = Bench(3, 2)
    before = bench.engine.ctx.state
    assert pre_vote_answer(bench, 2, at(2, 2)).supports
    assert pre_vote_answer(bench, 2, at(2, 2), sender=2).supports
    assert bench.engine.ctx.state == before


def test_a_pre_vote_follows_the_rows_for_logs_and_observers() -> None:
    assert pre_vote_answer(Bench(3, 2, 2), 2, at(2, 2)).vote is Vote.DENIED
    lagging = pre_vote_answer(Bench(3, 2), 2, at(2, 3))
    assert (lagging.vote, lagging.supports) == (Vote.ABSTAINED, True)
    observer = pre_vote_answer(Bench(3, 2, preference=LeadershipPreference.OBSERVER), 2, at(2, 2))
    assert (observer.vote, observer.supports) == (Vote.ABSTAINED, False)


def test_of_two_that_ask_at_once_the_higher_peer_id_yields() -> None:
    bench = Bench(3, 2)  # we are the lowest
    bench.time_out()
    assert pre_vote_answer(bench, 2, at(2, 2)).supports
    assert isinstance(bench.engine.role, Candidate)


def test_of_two_that_ask_at_once_the_one_that_is_behind_yields() -> None:
    bench = Bench(3, 2)
    bench.time_out()
    assert pre_vote_answer(bench, 2, at(2, 3)).supports
    assert isinstance(bench.engine.role, Follower)


def test_a_reluctant_member_waits_longer() -> None:
    bench = Bench(3, 2, preference=LeadershipPreference.reluctant(5))
    assert bench.follower.deadline >= 5.0


def test_a_member_that_is_no_voter_does_not_campaign() -> None:
    bench = Bench(3, 2)
    bench.engine.ctx.log._voters[:] = [(bench.engine.ctx.log.voters_index, tuple(bench.voters[1:]))]
    assert bench.advance(30) == []
    assert isinstance(bench.engine.role, Follower)


def test_timeout_now_campaigns_at_once_without_asking() -> None:
    """Thesis, section 3.10."""
    bench = Bench(3, 2)
    sent = bench.receive(TimeoutNow(term=Term(2)), bench.voters[1])
    assert [message.term for message in only(sent, RequestVote)] == [3, 3]


def test_a_broken_bond_to_the_leader_is_not_waited_out() -> None:
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    bench.engine.bond_down(bench.voters[1], bench.now)
    assert bench.engine.leader is None
    assert bench.follower.deadline <= bench.now + 0.5 / 4
    assert pre_vote_answer(bench, 2, at(2, 2), sender=2).vote is Vote.GRANTED


def test_a_restart_keeps_term_and_vote() -> None:
    """Raft paper, figure 2, "Persistent state": a member must not vote twice in one term."""
    other = Bench(3).voters[1]
    bench = Bench(3, 2, term=5, vote=other)
    assert bench.engine.term == 5
    from tests.raft.support import request_vote

    (answer,) = only(bench.receive(request_vote(5, at(2, 2)), bench.voters[2]), RequestVoteResponse)
    assert answer.vote is Vote.DENIED


def test_a_follower_that_slept_looks_at_what_came_meanwhile_before_it_campaigns() -> None:
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    bench.now += 5.0
    bench.engine.tick(bench.now)
    assert only(bench.sent(), PreVote) == []
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    assert only(bench.advance(bench.engine.ctx.config.election_timeout - 0.1), PreVote) == []
    assert only(bench.advance(2), PreVote), "with nobody there it campaigns in the end"


def test_nobody_campaigns_between_two_readings() -> None:
    """A burst of callers that takes longer than an election timeout: heartbeats, or grants, may wait unread."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    assert only(bench.advance(5, deaf=True), PreVote) == []
    bench.receive(append(2, at(2, 2)), bench.voters[1])
    assert only(bench.advance(0.1), PreVote) == []
    assert only(bench.time_out(), PreVote)
    assert only(bench.advance(5, deaf=True), PreVote) == [], "a candidate does not start over either"
    assert only(bench.advance(5), PreVote)
