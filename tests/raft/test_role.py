"""What all roles share: each behaviour of mosaik's role engine (``role.rs``), in its order, under its name."""

from __future__ import annotations

import logging

import pytest

from p2praft import LeadershipPreference
from p2praft.raft.candidate import Candidate
from p2praft.raft.context import SafetyViolation
from p2praft.raft.effects import EventKind
from p2praft.raft.entries import Configuration
from p2praft.raft.follower import Follower
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    FetchedEntries,
    FetchEntries,
    Message,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from p2praft.raft.types import Index, Member, Term, Vote
from tests.raft.support import Bench, append, at, entry, only, pre_vote, request_vote

OBSERVER = LeadershipPreference.OBSERVER


# --- 1. older terms


@pytest.mark.parametrize(
    "message", [request_vote(2, at(9, 9)), pre_vote(2, at(9, 9)), append(2, at(2, 2)), TimeoutNow(term=Term(2))]
)
def test_a_message_of_an_older_term_changes_nothing_but_its_leader_hears_of_the_newer(message: Message) -> None:
    bench = Bench(3, 2, 3)
    deadline = bench.follower.deadline
    answers = bench.receive(message, bench.voters[1])
    assert len(answers) == isinstance(message, AppendEntries)
    assert all(not answer.matched and answer.term == 3 for answer in only(answers, AppendEntriesResponse))
    assert bench.engine.term == 3
    assert bench.follower.deadline == deadline


def test_a_leader_that_hears_of_a_newer_term_by_an_answer_steps_down() -> None:
    bench = Bench(3, 2)
    bench.lead()
    term = bench.engine.term
    denial = AppendEntriesResponse(
        term=Term(term + 3), vote=Vote.ABSTAINED, matched=False, last=at(term + 3, 9), round=1
    )
    bench.receive(denial, bench.voters[1])
    assert (bench.engine.role.name, bench.engine.term) == ("follower", term + 3)


def test_a_stale_response_does_not_elect() -> None:
    bench = Bench(3, 3)
    bench.campaign()
    assert bench.engine.term == 4
    bench.receive(RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert isinstance(bench.engine.role, Candidate)


# --- 2. state sync


def test_state_sync_is_answered_in_whatever_role_and_changes_nothing() -> None:
    bench = Bench(3, 2)
    for role in ("follower", "candidate"):
        assert bench.engine.role.name == role
        deadline = bench.engine.role.deadline
        [answer] = only(bench.receive(FetchEntries(first=Index(1), last=Index(9)), bench.voters[1]), FetchedEntries)
        assert answer.entries == (), "nothing is known to be committed yet"
        assert bench.engine.role.deadline == deadline
        bench.time_out()


# --- 3. newer terms


def test_a_newer_term_makes_a_candidate_a_follower_of_nobody() -> None:
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(request_vote(9, at(2, 2)), bench.voters[1])
    assert isinstance(bench.engine.role, Follower)
    assert bench.engine.term == 9
    assert bench.engine.leader is None


def test_a_newer_term_makes_a_leader_a_follower_of_the_leader_that_the_message_names() -> None:
    bench = Bench(3, 2)
    bench.lead()
    bench.receive(append(9, at(2, 2)), bench.voters[2])
    assert isinstance(bench.engine.role, Follower)
    assert bench.engine.leader == bench.voters[2]
    assert bench.engine.term == 9


def test_the_newer_term_is_durable_before_anything_is_said_in_it() -> None:
    bench = Bench(3, 2, auto_persist=False)
    assert bench.receive(append(9, at(1, 1), entry(9, 2)), bench.voters[1]) == []
    write = bench.effects[-1].write
    assert write is not None
    assert write.state is not None
    assert write.state.term == 9
    bench.engine.persisted(write.serial, bench.now)
    assert only(bench.sent(), AppendEntriesResponse) != []


# --- 4. the vote table, row by row


def vote_of(bench: Bench, request: RequestVote, sender: Member) -> RequestVoteResponse:
    (response,) = only(bench.receive(request, sender), RequestVoteResponse)
    return response


def test_row_1_a_voter_that_voted_for_another_in_this_term_denies() -> None:
    bench = Bench(3, 2, term=5, vote=Bench(3).voters[1])
    response = vote_of(bench, request_vote(5, at(9, 9)), bench.voters[2])
    assert (response.vote, response.supports) == (Vote.DENIED, False)


def test_row_1_a_repeated_request_of_the_same_candidate_is_granted_again() -> None:
    bench = Bench(3, 2)
    for _ in range(2):
        assert vote_of(bench, request_vote(5, at(2, 2)), bench.voters[1]).vote is Vote.GRANTED


def test_row_1_comes_before_the_abstention_of_an_observer() -> None:
    bench = Bench(3, 2, term=5, vote=Bench(3).voters[1], preference=OBSERVER)
    assert vote_of(bench, request_vote(5, at(2, 2)), bench.voters[2]).vote is Vote.DENIED


@pytest.mark.parametrize("last", [at(2, 1), at(1, 9)])
def test_row_2_a_voter_with_the_more_up_to_date_log_denies(last: object) -> None:
    """Raft paper, section 5.4.1: by the last entry's term, then by length."""
    bench = Bench(3, 2, 2)
    response = vote_of(bench, request_vote(5, last), bench.voters[1])  # type: ignore[arg-type]
    assert (response.vote, response.supports) == (Vote.DENIED, False)
    assert bench.engine.ctx.state.vote is None


def test_row_2_comes_before_the_abstention_of_an_observer() -> None:
    bench = Bench(3, 2, 2, preference=OBSERVER)
    assert vote_of(bench, request_vote(5, at(1, 9)), bench.voters[1]).vote is Vote.DENIED


@pytest.mark.parametrize("last", [at(2, 2), at(3, 9)])
def test_row_3_an_observer_abstains_and_its_answer_supports_nobody(last: object) -> None:
    bench = Bench(3, 2, preference=OBSERVER)
    response = vote_of(bench, request_vote(5, last), bench.voters[1])  # type: ignore[arg-type]
    assert (response.vote, response.supports) == (Vote.ABSTAINED, False)
    assert bench.engine.ctx.state.vote is None


def test_row_4_a_member_that_lags_abstains_saves_its_vote_and_supports() -> None:
    bench = Bench(3, 2)
    response = vote_of(bench, request_vote(5, at(4, 7)), bench.voters[1])
    assert (response.vote, response.supports) == (Vote.ABSTAINED, True)
    assert bench.engine.ctx.state.vote == bench.voters[1]
    assert vote_of(bench, request_vote(5, at(4, 8)), bench.voters[2]).vote is Vote.DENIED


def test_row_5_a_member_with_the_same_log_grants_and_saves_its_vote() -> None:
    bench = Bench(3, 2)
    response = vote_of(bench, request_vote(5, at(2, 2)), bench.voters[1])
    assert (response.vote, response.supports) == (Vote.GRANTED, True)
    assert bench.engine.ctx.state.vote == bench.voters[1]


@pytest.mark.parametrize("last", [at(2, 2), at(4, 7)])
def test_the_vote_is_saved_before_the_answer_leaves(last: object) -> None:
    bench = Bench(3, 2, auto_persist=False)
    assert bench.receive(request_vote(5, last), bench.voters[1]) == []  # type: ignore[arg-type]
    write = bench.effects[-1].write
    assert write is not None
    assert write.state is not None
    assert (write.state.term, write.state.vote) == (5, bench.voters[1])
    bench.engine.persisted(write.serial, bench.now)
    assert len(only(bench.sent(), RequestVoteResponse)) == 1


def test_a_leader_answers_requests_for_votes_too() -> None:
    bench = Bench(3, 2)
    bench.lead()
    assert vote_of(bench, request_vote(bench.engine.term, at(9, 9)), bench.voters[1]).vote is Vote.DENIED


def test_a_voter_that_has_not_heard_of_its_own_promotion_votes() -> None:
    """What a member answers depends on its log and preference, never on whether it believes to be a voter."""
    bench = Bench(2, 2, observers=1)
    bench.receive(append(2, at(2, 2), entry(2, 3, Configuration(voters=tuple(bench.members[1:])))), bench.voters[1])
    assert bench.me not in bench.engine.voters
    response = vote_of(bench, request_vote(7, at(2, 3)), bench.members[2])
    assert (response.vote, response.supports) == (Vote.GRANTED, True)


# --- the election timer


def test_a_denial_leaves_the_election_timer_alone() -> None:
    bench = Bench(3, 2, 2, term=5, vote=Bench(3).voters[1])
    deadline = bench.follower.deadline
    bench.now = 0.5
    assert vote_of(bench, request_vote(5, at(9, 9)), bench.voters[2]).vote is Vote.DENIED
    assert bench.follower.deadline == deadline


@pytest.mark.parametrize(("last", "vote"), [(at(2, 2), Vote.GRANTED), (at(4, 7), Vote.ABSTAINED)])
def test_a_grant_and_an_abstention_restart_the_election_timer(last: object, vote: Vote) -> None:
    bench = Bench(3, 2, term=5)
    bench.now = 0.9
    assert vote_of(bench, request_vote(5, last), bench.voters[1]).vote is vote  # type: ignore[arg-type]
    assert bench.follower.deadline >= 0.9 + 1.0


# --- observers


def test_an_observer_never_campaigns() -> None:
    bench = Bench(3, 2, preference=OBSERVER)
    assert bench.advance(60) == []
    assert isinstance(bench.engine.role, Follower)
    bench.receive(TimeoutNow(term=Term(2)), bench.voters[1])
    assert isinstance(bench.engine.role, Follower)


def test_an_observer_never_turns_an_election() -> None:
    bench = Bench(3, 2, observers=4)
    bench.campaign()
    for observer in bench.members[3:]:
        for vote, supports in ((Vote.ABSTAINED, False), (Vote.GRANTED, True)):  # not even if it lies
            bench.receive(RequestVoteResponse(term=bench.engine.term, vote=vote, supports=supports), observer)
    assert isinstance(bench.engine.role, Candidate)


def test_an_observer_never_turns_a_commit() -> None:
    bench = Bench(3, 2, observers=4)
    bench.lead()
    committed = bench.engine.commit
    index = bench.leader.append(entry(1, 1).payload, bench.me.peer_id, bench.engine.ctx)
    bench.acknowledge(*bench.members[3:], vote=Vote.ABSTAINED)
    bench.acknowledge(*bench.members[3:], vote=Vote.GRANTED)  # not even if it lies
    assert bench.engine.commit == committed < index
    bench.acknowledge(bench.voters[1])
    assert bench.engine.commit == index


def test_a_voter_that_became_an_observer_does_not_count_either() -> None:
    bench = Bench(3, 2)
    bench.lead()
    committed = bench.engine.commit
    bench.leader.append(entry(1, 1).payload, bench.me.peer_id, bench.engine.ctx)
    bench.acknowledge(*bench.voters[1:], vote=Vote.ABSTAINED)
    assert bench.engine.commit == committed


def test_an_observer_stores_entries_and_abstains() -> None:
    bench = Bench(3, 2, preference=OBSERVER)
    (response,) = only(bench.receive(append(2, at(2, 2), entry(2, 3)), bench.voters[1]), AppendEntriesResponse)
    assert (response.vote, response.matched, response.last) == (Vote.ABSTAINED, True, at(2, 3))


# --- 5. what roles answer


def test_a_candidate_that_meets_its_terms_leader_steps_down_and_then_handles_the_same_message() -> None:
    bench = Bench(3, 2)
    bench.campaign()
    term = bench.engine.term
    sent = bench.receive(append(term, at(2, 2), entry(term, 3)), bench.voters[1])
    assert isinstance(bench.engine.role, Follower)
    assert bench.engine.leader == bench.voters[1]
    assert bench.engine.last == at(term, 3)
    (response,) = only(sent, AppendEntriesResponse)
    assert (response.matched, response.last) == (True, at(term, 3))


def test_rival_leaders_in_one_term_warn_and_campaign_in_the_next(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(3, 2)
    bench.lead()
    term = bench.engine.term
    sent = bench.receive(append(term, at(2, 2)), bench.voters[1])
    assert isinstance(bench.engine.role, Candidate)
    assert bench.engine.term == term + 1
    assert [message.term for message in only(sent, RequestVote)] == [term + 1, term + 1]
    assert bench.engine.leader is None
    assert "two leaders in term" in caplog.text
    kinds = {event.kind for effects in bench.effects for event in effects.events}
    assert EventKind.RIVAL_LEADER in kinds


def test_unexpected_messages_are_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(3, 2)
    before = bench.engine.ctx.state, bench.engine.last
    with caplog.at_level(logging.DEBUG, "p2praft.raft"):
        bench.receive(PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True), bench.voters[1])
        response = AppendEntriesResponse(term=Term(2), vote=Vote.GRANTED, matched=True, last=at(2, 2), round=1)
        bench.receive(response, bench.voters[1])
    assert "follower, did not expect PreVoteResponse" in caplog.text
    assert "follower, did not expect AppendEntriesResponse" in caplog.text
    assert (bench.engine.ctx.state, bench.engine.last) == before


# --- who is heard at all


def test_a_message_of_another_history_changes_nothing() -> None:
    bench = Bench(3, 2)
    assert bench.receive(append(9, at(2, 2)), bench.voters[1], history=b"x" * 16) == []
    assert bench.engine.term == 2


def test_a_message_of_a_member_without_a_bond_changes_nothing() -> None:
    bench = Bench(3, 2)
    bench.engine.bond_down(bench.voters[1], bench.now)
    bench.receive(append(9, at(2, 2)), bench.voters[1])
    assert bench.engine.term == 2


@pytest.mark.parametrize(
    "message",
    [
        append(5, at(2, 2), entry(2, 4)),
        append(5, at(2, 2), entry(1, 3)),
        append(5, at(2, 2), entry(6, 3)),
        append(5, at(2, 2), entry(3, 3), entry(3, 3)),
    ],
    ids=["gap", "older than prev", "newer than its term", "twice"],
)
def test_malformed_entries_are_dropped_whole(message: RequestVote) -> None:
    bench = Bench(3, 2)
    assert bench.receive(message, bench.voters[1]) == []
    assert bench.engine.term == 2
    assert bench.engine.last == at(2, 2)


def test_committed_entries_are_never_replaced() -> None:
    """Raft paper, figure 3, "State Machine Safety": a member that is told to do so answers nothing."""
    bench = Bench(3, 2)
    bench.receive(append(2, at(2, 2), commit=2), bench.voters[1])
    assert bench.engine.commit == 2
    assert bench.receive(append(3, at(1, 1), entry(3, 2)), bench.voters[2]) == []
    assert (bench.engine.last, bench.engine.commit) == (at(2, 2), 2)
    assert bench.engine.status().differs
    with pytest.raises(SafetyViolation, match="told to replace entry 2"):
        bench.engine.ctx.persist((entry(3, 2),))


def test_a_commit_index_is_believed_only_as_far_as_the_message_vouches_for_our_entries() -> None:
    """Paper, figure 2, AppendEntries, 5: min(leaderCommit, index of last new entry)."""
    bench = Bench(3, 1, 1)
    bench.receive(append(2, at(1, 1), commit=3), bench.members[1])
    assert bench.engine.commit == 1
