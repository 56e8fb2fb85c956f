"""Figure 2, "RequestVote RPC" and "AppendEntries RPC": what the receiver does, number by number."""

from __future__ import annotations

import pytest

from p2praft.raft.messages import AppendEntriesResponse, RequestVoteResponse
from p2praft.raft.types import Cursor, Vote
from tests.paper.support import entries_of
from tests.raft.support import Bench, append, at, entry, log, only, request_vote


def vote(bench: Bench, term: int, last: Cursor, sender: int = 1) -> RequestVoteResponse:
    """The one answer to a request."""
    [response] = only(bench.receive(request_vote(term, last), bench.voters[sender]), RequestVoteResponse)
    return response


def answer(bench: Bench, *args: object, commit: int = 0) -> AppendEntriesResponse:
    """The one answer to what the leader sends."""
    sent = bench.receive(append(*args, commit=commit), bench.voters[1])  # type: ignore[arg-type]
    [response] = only(sent, AppendEntriesResponse)
    return response


# --- RequestVote


def test_1_a_candidate_of_an_older_term_gets_no_vote() -> None:
    """RequestVote 1: reply false if term < currentTerm. Ours drops it: who lags hears the newer term from others."""
    bench = Bench(3, 2, term=5)
    assert bench.receive(request_vote(4, at(4, 9)), bench.voters[1]) == []
    assert bench.engine.ctx.state.vote is None


def test_2_a_member_that_has_not_voted_grants_an_equal_log() -> None:
    """RequestVote 2: votedFor is null and the candidate's log is at least as up-to-date: grant."""
    response = vote(Bench(3, 2, 2), 5, at(2, 3))
    assert (response.vote, response.supports, response.term) == (Vote.GRANTED, True, 5)


@pytest.mark.parametrize("last", [at(2, 4), at(3, 2)], ids=["longer", "newer"])
def test_2_a_member_that_has_not_voted_supports_a_better_log(last: Cursor) -> None:
    """RequestVote 2: at least as up-to-date: grant. Ours abstains, for it lags, saves its vote and supports."""
    bench = Bench(3, 2, 2)
    response = vote(bench, 5, last)
    assert (response.vote, response.supports) == (Vote.ABSTAINED, True)
    assert bench.engine.ctx.state.vote == bench.voters[1]


def test_2_a_member_that_voted_for_the_candidate_says_so_again() -> None:
    """RequestVote 2: votedFor is candidateId: grant, for the first answer may have been lost."""
    bench = Bench(3, 2)
    assert [vote(bench, 5, at(2, 2)).supports for _ in range(3)] == [True, True, True]


def test_2_a_member_that_voted_for_another_denies() -> None:
    """RequestVote 2: votedFor is neither null nor candidateId: no vote, however good the log."""
    bench = Bench(3, 2)
    assert vote(bench, 5, at(2, 2), sender=1).supports
    response = vote(bench, 5, at(4, 9), sender=2)
    assert (response.vote, response.supports) == (Vote.DENIED, False)
    assert bench.engine.ctx.state.vote == bench.voters[1]


@pytest.mark.parametrize("last", [at(2, 2), at(1, 9)], ids=["shorter", "older"])
def test_2_a_member_with_the_better_log_denies(last: Cursor) -> None:
    """RequestVote 2: the candidate's log is not at least as up-to-date: no vote."""
    bench = Bench(3, 2, 2)
    response = vote(bench, 5, last)
    assert (response.vote, response.supports) == (Vote.DENIED, False)
    assert bench.engine.ctx.state.vote is None


def test_2_a_newer_term_brings_a_new_vote() -> None:
    """RequestVote 2: votedFor belongs to currentTerm; in the next one it is null again."""
    bench = Bench(3, 2)
    assert vote(bench, 5, at(2, 2), sender=1).supports
    assert vote(bench, 6, at(2, 2), sender=2).supports


# --- AppendEntries


def test_1_entries_of_an_older_term_are_not_taken() -> None:
    """AppendEntries 1: reply false if term < currentTerm."""
    bench = Bench(3, 2, term=5)
    sent = bench.receive(append(4, at(2, 2), entry(4, 3), commit=3), bench.voters[1])
    [response] = only(sent, AppendEntriesResponse)
    assert (response.term, response.matched, response.vote) == (5, False, Vote.ABSTAINED)
    assert (bench.engine.last, bench.engine.commit, bench.engine.leader) == (at(2, 2), 0, None)


@pytest.mark.parametrize("prev", [at(2, 4), at(3, 3)], ids=["missing", "another term"])
def test_2_entries_behind_what_the_log_lacks_are_refused(prev: Cursor) -> None:
    """AppendEntries 2: reply false if the log has no entry at prevLogIndex of prevLogTerm."""
    bench = Bench(3, 2, 2)
    response = answer(bench, 3, prev, entry(3, prev.index + 1))
    assert (response.matched, response.vote) == (False, Vote.ABSTAINED)
    assert bench.engine.last == at(2, 3)


def test_3_an_entry_that_conflicts_goes_with_all_that_follow_it() -> None:
    """AppendEntries 3: same index but another term: delete it and all behind it."""
    bench = Bench(3, 2, 2, 2, 2)
    assert answer(bench, 4, at(2, 2), entry(4, 3)).last == at(4, 3)
    assert entries_of(bench) == (*log(bench.voters, 2), entry(4, 3))


def test_3_entries_that_agree_stay_even_if_the_message_ends_before_them() -> None:
    """AppendEntries 3: only a conflict deletes; a delayed message must not shorten the log."""
    bench = Bench(3, 2, 2, 2, 2)
    before = entries_of(bench)
    assert answer(bench, 2, at(1, 1), entry(2, 2), entry(2, 3)).last == at(2, 3)
    assert entries_of(bench) == before


def test_4_entries_that_the_log_lacks_are_appended() -> None:
    """AppendEntries 4: append any new entries not already in the log."""
    bench = Bench(3, 2)
    assert answer(bench, 3, at(1, 1), entry(2, 2), entry(2, 3), entry(3, 4)).last == at(3, 4)
    assert entries_of(bench) == (*log(bench.voters, 2), entry(2, 3), entry(3, 4))


@pytest.mark.parametrize(
    ("leader_commit", "commit"), [(2, 2), (4, 3), (99, 3)], ids=["within", "beyond the message", "far beyond"]
)
def test_5_the_commit_index_is_taken_as_far_as_the_message_vouches(leader_commit: int, commit: int) -> None:
    """AppendEntries 5: commitIndex = min(leaderCommit, index of last new entry)."""
    bench = Bench(3, 2, 2, 2)
    answer(bench, 4, at(2, 2), entry(2, 3), commit=leader_commit)
    assert bench.engine.commit == commit


def test_5_a_heartbeat_vouches_for_what_it_names_as_previous() -> None:
    """AppendEntries 5: without entries, prevLogIndex is the last that was verified."""
    bench = Bench(3, 2, 2, 2)
    answer(bench, 4, at(2, 2), commit=4)
    assert bench.engine.commit == 2


def test_5_a_refused_message_commits_nothing() -> None:
    """AppendEntries 2 and 5: what does not match proves nothing about the log."""
    bench = Bench(3, 2, 2)
    answer(bench, 4, at(3, 3), commit=3)
    assert bench.engine.commit == 0
