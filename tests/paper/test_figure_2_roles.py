"""Figure 2, "Rules for Servers": all servers, followers, candidates, leaders."""

from __future__ import annotations

import pytest

from p2praft.raft.candidate import Candidate
from p2praft.raft.entries import NoOp
from p2praft.raft.follower import Follower
from p2praft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Message,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from p2praft.raft.types import Index, Term, Vote
from tests.paper.support import accepted, committed, entries_of, holds, lacks, propose, sent_to, win
from tests.raft.support import Bench, append, at, entry, pre_vote, request_vote

NEWER: list[Message] = [
    request_vote(9, at(1, 1)),
    pre_vote(9, at(1, 1)),
    append(9, at(2, 2)),
    RequestVoteResponse(term=Term(9), vote=Vote.DENIED, supports=False),
    PreVoteResponse(term=Term(9), vote=Vote.DENIED, supports=False),
    AppendEntriesResponse(term=Term(9), vote=Vote.ABSTAINED, matched=False, last=at(1, 1), round=0),
]

# --- all servers


def test_what_is_committed_is_applied() -> None:
    """Figure 2, all servers: while commitIndex > lastApplied, apply log[lastApplied]."""
    bench = Bench(3, 2, 2)
    bench.receive(append(2, at(2, 3), commit=3), bench.voters[1])
    assert tuple(committed(bench)) == entries_of(bench)


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
@pytest.mark.parametrize("message", NEWER, ids=lambda message: type(message).__name__)
def test_a_request_or_response_of_a_newer_term_makes_a_follower(role: str, message: Message) -> None:
    """Figure 2, all servers: a term T > currentTerm sets currentTerm = T and converts to follower."""
    bench = Bench(3, 2)
    if role == "candidate":
        bench.campaign()
    if role == "leader":
        bench.lead()
    assert bench.engine.role.name == role
    bench.receive(message, bench.voters[1])
    assert (bench.engine.term, bench.engine.role.name) == (9, "follower")


# --- followers


@pytest.mark.parametrize(
    ("request_", "kind"),
    [(append(2, at(2, 2)), AppendEntriesResponse), (request_vote(2, at(2, 2)), RequestVoteResponse)],
    ids=["leader", "candidate"],
)
def test_a_follower_answers_leaders_and_candidates(request_: Message, kind: type[Message]) -> None:
    """Figure 2, followers: respond to RPCs from candidates and leaders."""
    bench = Bench(3, 2)
    [(to, response)] = bench.receive(request_, bench.voters[1])
    assert (to, type(response)) == (bench.voters[1], kind)


def test_a_follower_that_hears_nobody_campaigns() -> None:
    """Figure 2, followers: election timeout elapses without hearing a leader or granting: become candidate."""
    bench = Bench(3, 2)
    bench.now = bench.follower.deadline - 0.01
    bench.engine.tick(bench.now)
    assert isinstance(bench.engine.role, Follower)
    bench.time_out()
    assert isinstance(bench.engine.role, Candidate)


@pytest.mark.parametrize("heard", [append(2, at(2, 2)), request_vote(2, at(2, 2))], ids=["leader", "candidate"])
def test_a_follower_that_hears_the_leader_or_grants_a_vote_waits_on(heard: Message) -> None:
    """Figure 2, followers: an AppendEntries of the current leader, and a granted vote, restart the timeout."""
    bench = Bench(3, 2)
    for _ in range(20):
        bench.now += 0.9
        bench.engine.tick(bench.now)
        bench.receive(heard, bench.voters[1])
        assert isinstance(bench.engine.role, Follower)


# --- candidates


def test_a_candidate_raises_its_term_votes_for_itself_restarts_its_timer_and_asks_everybody() -> None:
    """Figure 2, candidates: the four steps that start an election; ours come after a pre-vote that found support."""
    bench = Bench(5, 2)
    bench.time_out()
    for voter in bench.voters[1:3]:
        sent = bench.receive(PreVoteResponse(term=Term(2), vote=Vote.GRANTED, supports=True), voter)
    assert (bench.engine.term, bench.engine.ctx.state.vote) == (3, bench.me)
    assert bench.candidate.deadline >= bench.now + 1.0
    asked = {to: message for to, message in sent if isinstance(message, RequestVote)}
    assert asked == dict.fromkeys(bench.voters[1:], request_vote(3, at(2, 2)))


def test_a_candidate_with_votes_of_a_majority_leads() -> None:
    """Figure 2, candidates: votes from a majority of servers: become leader; one vote less is not enough."""
    bench = Bench(5, 2)
    bench.campaign()
    grant = RequestVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True)
    bench.receive(grant, bench.voters[1])
    bench.receive(grant, bench.voters[1])
    assert bench.engine.role.name == "candidate"
    bench.receive(grant, bench.voters[2])
    assert bench.engine.role.name == "leader"


def test_a_candidate_that_hears_the_new_leader_follows_it() -> None:
    """Figure 2, candidates: AppendEntries from the new leader: convert to follower."""
    bench = Bench(3, 2)
    bench.campaign()
    bench.receive(append(3, at(2, 2), entry(3, 3)), bench.voters[2])
    assert isinstance(bench.engine.role, Follower)
    assert bench.engine.leader == bench.voters[2]


def test_a_candidate_whose_time_runs_out_starts_over() -> None:
    """Figure 2, candidates: election timeout elapses: start a new election, in the next term."""
    bench = Bench(3, 2)
    bench.campaign()
    bench.time_out()
    bench.receive(PreVoteResponse(term=Term(3), vote=Vote.GRANTED, supports=True), bench.voters[1])
    assert isinstance(bench.engine.role, Candidate)
    assert (bench.engine.term, bench.engine.ctx.state.vote) == (4, bench.me)


# --- leaders


def test_a_leader_speaks_to_everybody_upon_election() -> None:
    """Figure 2, leaders: upon election, AppendEntries to each server; ours hold the no-op that opens the term."""
    bench = Bench(3, 2)
    sent = win(bench, bench.voters[1])
    for voter in bench.voters[1:]:
        [message] = sent_to(sent, voter, AppendEntries)
        assert (message.term, message.prev) == (3, at(2, 2))
        assert [e.payload for e in message.entries] == [NoOp()]


def test_an_idle_leader_repeats_heartbeats() -> None:
    """Figure 2, leaders: repeat during idle periods to prevent election timeouts."""
    bench = Bench(3, 2)
    bench.lead()
    beats = [m for m in sent_to(bench.advance(0.5), bench.voters[1], AppendEntries) if not m.entries]
    assert len({beat.round for beat in beats}) >= 4


def test_a_command_is_appended_and_applied_once_it_is_committed() -> None:
    """Figure 2, leaders: append a client's command to the local log, respond after it is applied."""
    bench = Bench(3, 2)
    bench.lead()
    propose(bench, 7)
    index = accepted(bench)[7]
    assert index == bench.engine.last.index == 4
    assert committed(bench)[-1].index == 3
    bench.acknowledge(bench.voters[1])
    assert committed(bench)[-1].index == index


def test_a_follower_gets_all_entries_from_its_next_index_on() -> None:
    """Figure 2, leaders: last log index >= nextIndex: send entries from nextIndex on."""
    bench = Bench(3, 2, 2, 2)
    win(bench, bench.voters[1])
    sent = bench.receive(lacks(bench, at(2, 2)), bench.voters[2])
    [message] = sent_to(sent, bench.voters[2], AppendEntries)
    assert (message.prev, [e.index for e in message.entries]) == (at(2, 2), [3, 4, 5])


def test_a_success_moves_next_and_match_forward() -> None:
    """Figure 2, leaders: if successful, update nextIndex and matchIndex for the follower."""
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1], vote=Vote.ABSTAINED)
    bench.receive(holds(bench, bench.engine.last), bench.voters[2])
    progress = bench.leader.replication.progress[bench.voters[2]]
    assert (progress.match, progress.next) == (4, 5)


def test_a_failure_moves_next_back_and_is_tried_again_at_once() -> None:
    """Figure 2, leaders: if it fails because of inconsistency, decrement nextIndex and retry."""
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1])
    sent = bench.receive(lacks(bench, at(1, 1)), bench.voters[2])
    assert [m.prev for m in sent_to(sent, bench.voters[2], AppendEntries)] == [at(1, 1)]


def test_an_entry_of_the_term_commits_once_a_majority_holds_it() -> None:
    """Figure 2, leaders: N > commitIndex, a majority of matchIndex >= N: set commitIndex = N."""
    bench = Bench(5, 2)
    bench.lead()
    for number in range(3):
        propose(bench, number)
    for voter, index, commit in ((1, 6, 3), (2, 4, 4), (3, 5, 5), (4, 6, 6)):
        bench.receive(holds(bench, at(3, index)), bench.voters[voter])
        assert bench.engine.commit == commit


def test_an_entry_of_an_earlier_term_does_not_commit_by_itself() -> None:
    """Figure 2, leaders: and log[N].term == currentTerm."""
    bench = Bench(3, 2, 2)
    win(bench, bench.voters[1], vote=Vote.ABSTAINED)
    for voter in bench.voters[1:]:
        bench.receive(holds(bench, at(2, 3)), voter)
    assert bench.engine.commit == 0
    bench.receive(holds(bench, at(3, 4)), bench.voters[1])
    assert bench.engine.commit == Index(4)
